"""Tables of settings: what a paper prints beside what `scale=paper` runs."""

from typing import Any

import pandas as pd

from data2vec.compose import compose
from data2vec.config import RunConfig
from data2vec.papers import Paper
from data2vec.reporting.files import number
from data2vec.reporting.formats import Table
from data2vec.reporting.published import size_of

# As the papers call it -> our key.
KEYS = {
    "M": "mask.clones",
    "B": "mask.length",
    "R": "mask.ratio",
    "A": "mask.adjust",
    "K": "target.top_k",
    "peak_lr": "optim.lr",
    "warmup": "optim.warmup_updates",
    "updates": "train.updates",
    "ema_tau_start": "teacher.start",
    "ema_tau_end": "teacher.end",
    "ema_anneal_updates": "teacher.anneal_updates",
    "decoder_dim": "decoder.dim",
    "decoder_groups": "decoder.groups",
    "decoder_kernel": "decoder.kernel",
    "decoder_layers": "decoder.layers",
    "batch_size": "train.batch_size",
    "batch_audio": "speech.batch_seconds",
    "cls_loss_weight": "loss.cls",
}
NORMS = {"instance": "IN", "layer": "LN", "batch": "BN"}
SAME, OTHER, NO_KEY = "same", "differs", "no key: depends on the machine"


def recipe(paper: Paper, published: pd.DataFrame) -> Table:
    """One line a setting and size: published, ours (the composed configuration of 2.0), our key."""
    rows: list[tuple[str, ...]] = []
    configs = {size: _config(paper.modality, size) for size in paper.models}
    for row in published.to_dict("records"):
        size = size_of(row["model_size"])
        if size not in configs:
            continue
        key, ours = _ours(row["metric"], configs[size])
        same = ours == row["value"] or (number(ours) == number(row["value"]))
        here = NO_KEY if not key else SAME if same else OTHER
        rows.append((row["metric"], row["model_size"], row["value"], row["unit"], ours, key, here))
    columns = ("setting", "model", "published", "unit", "ours", "key", "here")
    note = "Ours: `scale=paper`. Where papers and released configurations differ, docs/method.md says which is taken."
    return Table(
        paper.name,
        f"{paper.item}: {paper.title}",
        columns,
        rows,
        note,
        numeric=frozenset({"published", "ours"}),
        status_column="here",
    )


def _config(modality: str, size: str) -> RunConfig:
    data = {"vision": "imagenet", "speech": "librispeech", "text": "books-wikipedia"}[modality]
    return compose({"method": "data2vec2", "modality": modality, "model": size, "data": data})


def _ours(setting: str, config: RunConfig) -> tuple[str, str]:
    """(key, value) of a published setting in a configuration; empty where it has none."""
    if setting == "target_norm":
        target = config.target
        steps = [*(NORMS[n] for n in target.norm_layer), "AVG", *(NORMS[n] for n in target.norm_average)]
        return "target.norm_layer, target.norm_average", " -> ".join(steps)
    if setting not in KEYS:
        return "", ""
    section, name = KEYS[setting].split(".")
    value: Any = getattr(getattr(config, section), name)
    return KEYS[setting], f"{value:.10g}" if isinstance(value, float) else str(value)
