"""The page's first paragraphs, one a modality, and its tiles: sentences made of real values, and nothing else."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.ladders import ABOVE, BELOW, control_verdict, ladders, strongest_control
from data2vec.reporting.names import count, duration, fmt, is_control, join, method_label, metric_label
from data2vec.reporting.provenance import hardware
from data2vec.reporting.published import same_data, size_of
from data2vec.reporting.runs import Run

# What the numbers of the papers were measured with.
PUBLISHED_ON = {
    "vision": ("ImageNet-1K", "ImageNet-1K", "of the size ViT-B and up"),
    "speech": ("LS-960", "LibriSpeech, 960 h,", "of the size Base and up"),
    "text": ("BooksCorpus + English Wikipedia", "books and Wikipedia,", "of the size Base"),
}
PUBLISHED_MODELS = ("base", "large", "huge")
PROBES = ("linear_top1", "knn_top1")
FINETUNED_MAX = 2  # scores of fine-tuning that the paragraph names
TILES_MAX = 4


@dataclass(frozen=True)
class Tile:
    """One number that a reader should take away."""

    value: str
    unit: str
    label: str


def sentences(frame: pd.DataFrame, runs: list[Run]) -> list[str]:
    """What was run, on what, at what cost, and what came out."""
    return [*_what(frame), *_price(frame, runs), *_outcome(frame), *_comparable(frame)]


def _what(frame: pd.DataFrame) -> list[str]:
    runs = stats.per_run(frame)
    trained = runs[runs["experiment"] == "main"]
    said = []
    for (scale, model, data), part in trained.groupby(["scale", "model", "dataset"], sort=True):
        methods = join([method_label(method) for method in sorted(set(part["method"]))])
        verb = "was" if part["method"].nunique() == 1 else "were"
        seeds = part["seed"].nunique()
        said.append(
            f"{methods} {verb} pre-trained on {data or 'unnamed data'} "
            f"with the {model or 'unnamed'} model ({scale} scale), {count(seeds, 'seed')} each: "
            f"{_range(part['updates'])} updates, {_range(part['samples'])} samples seen in a run."
        )
    others = runs[runs["experiment"] != "main"]
    if len(others):
        names = others["experiment"].nunique()
        said.append(f"{count(names, 'experiment')} took {count(len(others), 'further run')}.")
    return said or ["No finished pre-training run was found."]


def _price(frame: pd.DataFrame, runs: list[Run]) -> list[str]:
    total = stats.per_run(frame)["pretrain_seconds"]
    machines = join(sorted({words for run in runs if (words := hardware(run.provenance))}))
    if not total.notna().any():
        return []
    return [f"All pre-training together took {duration(total.sum())}" + (f" on {machines}." if machines else ".")]


def _openings(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """(metric, unit, ladder) of the scores that lead: the linear probe, and the first ones of fine-tuning."""
    found = [
        (metric, unit, ladder)
        for (metric, unit), ladder in ladders(frame)
        if not ladder["method"].map(is_control).all() and metric not in ("knn_top1", "wer_lm")
    ]
    probes = [entry for entry in found if entry[0] in PROBES][:1]
    tuned = [entry for entry in found if entry[0] not in PROBES]
    if any(metric == "glue_avg" for metric, _, _ in tuned):
        tuned = [entry for entry in tuned if entry[0] == "glue_avg"]
    return probes + tuned[:FINETUNED_MAX]


def _outcome(frame: pd.DataFrame) -> list[str]:
    """The leading method of each first-choice score against its strongest control."""
    said = []
    for metric, unit, ladder in _openings(frame):
        first = ladder[~ladder["method"].map(is_control)].iloc[0].to_dict()
        best = strongest_control(ladder)
        verdict, difference = control_verdict(first, ladder)
        words = f"{_opening(metric, first['dataset'])} {_value(first, unit)} with {method_label(first['method'])}"
        if best is not None:
            words += f" and {_value(best, unit)} with the strongest control, {best['method']}: "
            words += _against(difference, verdict)
        said.append(words + ".")
    return said


def _opening(metric: str, dataset: str) -> str:
    if metric == "linear_top1":
        return "A linear probe on the frozen features reaches"
    if metric == "finetune_top1":
        return "Fine-tuning reaches"
    if metric == "glue_avg":
        return "Fine-tuned on GLUE, the average over its tasks is"
    return f"Fine-tuned on {dataset}, the {metric_label(metric)} is"


def _against(difference: float, verdict: str) -> str:
    if verdict not in (ABOVE, BELOW):
        return f"a difference of {fmt(difference, 'points', signed=True)} points ({verdict})"
    side = f"{'more' if difference > 0 else 'less'} than the control"
    return f"{fmt(abs(difference), 'points')} points {side}, and more than the spread over seeds explains"


def _comparable(frame: pd.DataFrame) -> list[str]:
    said = []
    for modality, runs in stats.per_run(frame).groupby("modality", sort=True):
        if str(modality) not in PUBLISHED_ON:
            continue
        data, words, models = PUBLISHED_ON[str(modality)]
        pairs = zip(runs["dataset"], runs["model"], strict=True)
        if not any(same_data(ours, data) and size_of(model) in PUBLISHED_MODELS for ours, model in pairs):
            said.append(
                f"The published numbers are for {words} with models {models}: they stand beside ours for orientation, "
                "and no row here is a reproduction of them."
            )
    return said


def tiles(frame: pd.DataFrame) -> list[Tile]:
    """Three or four numbers of one modality for the top of the page."""
    found = []
    for metric, unit, ladder in _openings(frame):
        first = ladder[~ladder["method"].map(is_control)].iloc[0].to_dict()
        where = f" on {first['dataset']}" if metric not in (*PROBES, "finetune_top1", "glue_avg") else ""
        label = f"{metric_label(metric)}{where}, {method_label(first['method'])}"
        found.append(Tile(_value(first, ""), unit, label))
        best = strongest_control(ladder)
        if best is not None and metric == "linear_top1":
            _, difference = control_verdict(first, ladder)
            label = f"against {best['method']}, the strongest control"
            found.append(Tile(fmt(difference, "points", signed=True), "points", label))
    seconds = stats.per_run(frame)["pretrain_seconds"]
    if seconds.notna().any():
        value, _, unit = duration(seconds.sum()).partition(" ")
        last = Tile(value, unit, f"of pre-training, {count(len(seconds), 'run')} together")
        return [*found[: TILES_MAX - 1], last]
    return found[:TILES_MAX]


def _value(record: dict[str, Any], unit: str) -> str:
    spread = "" if math.isnan(record["std"]) else f" ± {fmt(record['std'], record['unit'])}"
    return f"{fmt(record['mean'], record['unit'])}{spread}" + (f" {unit}" if unit else "")


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    if math.isnan(low):
        return "an unknown number of"
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
