"""`python -m data2vec import`: a checkpoint of the original implementations becomes a run folder of ours.

source     the file, taken apart without running anything in it    data2vec.interop.source
layout     which model it is, by names and shapes                  data2vec.interop.{fairseq,beit}
weights    every tensor accounted for                              data2vec.interop.weights
imported   the folder                                              data2vec.interop.imported
"""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from data2vec import __version__
from data2vec.compose import compose
from data2vec.config import RunConfig, validate
from data2vec.data.tokenizer import tokenizer_beside
from data2vec.errors import UserError
from data2vec.interop import beit, fairseq, weights
from data2vec.interop.facts import Facts, Layout, Sections
from data2vec.interop.imported import check_vacant, save_imported
from data2vec.interop.report import Report
from data2vec.interop.source import Source, open_source

log = logging.getLogger(__name__)

UNKNOWN_LICENCE = "unknown: the file does not say; ask where it came from"
DATA = {"vision": "imagenet", "speech": "librispeech", "text": "textfolder"}
SIZES = {768: "base", 1024: "large", 1280: "huge"}
TASKS = {"output.": "ctc", "out_proj.": "sentence_classification", "classifier.": "classification"}

# Far beyond every published model: a file may not ask for more than that without having the tensors.
MOST_PATCHES = 256  # on a side
MOST_TOKENS = 1 << 17


@dataclass
class Original:
    """A model of the original implementations in our terms; `save_imported` writes it."""

    config: RunConfig
    tensors: dict[str, Tensor]
    """By the names of a run folder's checkpoint: `encoder.*`, `teacher.*`, and `head.*` or `decoder.*`, or, of
    fine-tuned models, the head of `downstream.{ctc,sentence,classifier}`."""
    provenance: dict[str, Any]
    report: Report
    files: dict[str, str | bytes]
    """import.json (the report); where known symbols.json (vocabulary in the order of ids) and a text's tokenizer."""


def import_checkpoint(path: Path, run_dir: Path, licence: str | None = None) -> Report:
    """Write the run folder of a `.pt` or `.pth` file of the original implementations.

    Raises:
        UserError: the file is refused (damaged, hostile, no data2vec model) or the folder is taken.
    """
    source = open_source(path)
    check_vacant(run_dir, source.sha256)
    model = understand(source, licence)
    save_imported(run_dir, model.config, model.tensors, model.provenance, model.files)
    return model.report


def read_original(path: Path, licence: str | None = None) -> Original:
    """The model in a file, in our terms. Raises UserError where `import_checkpoint` does."""
    return understand(open_source(path), licence)


def understand(source: Source, licence: str | None = None) -> Original:
    """Name, check and read all tensors of a source."""
    report = Report()
    facts = Facts({name: t.shape for name, t in source.encoder.items()}, source.model, report)
    try:
        layout = recognise(facts)
        heads = weights.name_all(source.head, weights.HEADS, report.unused)
        task = _task(heads)
        averaged = weights.teacher_names(source, layout.rules, report)
        config = configuration(layout, _told_by_parts(source, task, heads, averaged), source)
        shapes = weights.expected_shapes(config)
        tensors = weights.student(source, layout.rules, shapes, facts, report)
        tensors |= weights.teacher(source, averaged, shapes, report)
        tensors |= weights.read(source.head, heads, {})
    except UserError as error:
        raise UserError(f"{source.path}: {error}") from None
    report.mapped |= heads
    weights.check_computed(source, config, report)
    unknown = [name for name, reason in report.unused.items() if reason == weights.UNKNOWN]
    if unknown:
        log.warning("%d tensors with names unknown here were left out, such as %s", len(unknown), unknown[0])
    symbols = _symbols(source, task, config, tensors, report)
    provenance = {
        "imported_from": str(source.path),
        "sha256": source.sha256,
        "licence": licence or UNKNOWN_LICENCE,
        "format": layout.form,
        "task": task,
        "data2vec": __version__,
        **source.progress,
    }
    tokenizer = _tokenizer(source, config, report)
    files: dict[str, str | bytes] = {"import.json": json.dumps(report.as_dict(), indent=1) + "\n", **tokenizer}
    if symbols:
        files["symbols.json"] = json.dumps(symbols, indent=0, ensure_ascii=False) + "\n"
    return Original(config, tensors, provenance, report, files)


def _tokenizer(source: Source, config: RunConfig, report: Report) -> dict[str, bytes]:
    """Files of the tokenizer that lies beside a model of text, so that its run folder reads text; {} without one."""
    found = tokenizer_beside(source.path.parent) if config.modality == "text" else None
    if found is None:
        return {}
    if found.vocab_size != config.data.vocab_size:
        report.differences.append(
            f"the tokenizer beside the file has {found.vocab_size} ids, the model {config.data.vocab_size}; left out"
        )
        return {}
    return dict(found.files)


def recognise(facts: Facts) -> Layout:
    """Which model the names belong to. Raises UserError for none of ours."""
    if facts.has(r"modality_encoders\..*"):
        return fairseq.multi(facts)
    if facts.has(r"feature_extractor\.conv_layers\..*"):
        return fairseq.speech1(facts)
    if facts.has(r"(en|de)coder\.sentence_encoder\..*"):
        return fairseq.text1(facts)
    if facts.has(r"patch_embed\.conv\.weight"):
        return beit.port(facts)
    if facts.has(r"patch_embed\.proj\.weight") and facts.has(r"blocks\.0\.attn\.qkv\.weight"):
        return beit.beit(facts)
    names = ", ".join(name[:60] for name in list(facts.shapes)[:3])
    raise UserError(f"holds no model of data2vec 1.0 or 2.0 (its tensors are called {names}, ...)")


def configuration(layout: Layout, more: Sections, source: Source) -> RunConfig:
    """The published recipe of the method and modality, with what the file tells in its place."""
    model = layout.sections["model"]
    size = SIZES.get(model["dim"], "base")
    choice = {"method": layout.method, "modality": layout.modality, "data": DATA[layout.modality]}
    values = compose(choice | {"model": size}).model_dump(mode="json")
    for sections in (layout.sections, more):
        for section, found in sections.items():
            values[section] |= found
    values["model"]["name"] = size if model["dim"] in SIZES else f"{model['dim']}x{model['depth']}"
    if isinstance(values["target"]["top_k"], int):  # else an error of the schema
        values["target"]["top_k"] = min(values["target"]["top_k"], model["depth"])
    if layout.modality == "speech" and "normalize" in source.task:
        values["speech"]["normalise"] = bool(source.task["normalize"])
    decoder = values["decoder"]
    decoder["groups"] = math.gcd(decoder["dim"], model["dim"], decoder["groups"])  # a recipe's, if the file has none
    config = validate(values)
    if config.vision.grid > MOST_PATCHES or config.text.max_positions > MOST_TOKENS:
        raise UserError(
            f"its stored configuration asks for images of {config.vision.image_size} pixels or texts of "
            f"{config.text.max_positions} tokens, which is more than any model of data2vec takes"
        )
    return config


def _told_by_parts(source: Source, task: str, heads: dict[str, str], averaged: dict[str, str]) -> Sections:
    """What the head and the teacher tell about the configuration."""
    sections: Sections = {"teacher": {"scope": weights.teacher_scope(averaged)}} if averaged else {}
    if task == "classification":
        mode = str(source.finetuned.get("prediction_mode") or "").upper()
        normed = any(ours.startswith("norm.") for ours in heads.values())
        pooling = "mean" if ("MEAN" in mode if mode else normed) else "class_token"
        sections["finetune"] = {"pooling": pooling, "head_norm": normed}
    return sections


def _task(heads: dict[str, str]) -> str:
    found = (task for start, task in TASKS.items() if any(ours.startswith(start) for ours in heads.values()))
    return next(found, "pretraining")


def _symbols(
    source: Source, task: str, config: RunConfig, tensors: dict[str, Tensor], report: Report
) -> list[str] | None:
    """The letters of a recogniser or the vocabulary of a text model; None where they are not known or do not fit."""
    if source.symbols is None or (config.modality != "text" and task != "ctc"):
        return None
    symbols = list(source.symbols)
    if config.modality == "text" and symbols[-1] != "<mask>":
        symbols.append("<mask>")  # the task adds it to what its dictionary file lists
    rows = len(tensors["output.bias"]) if task == "ctc" else config.data.vocab_size
    if len(symbols) != rows:
        report.differences.append(f"the dictionary has {len(symbols)} symbols, the model {rows}; it was left out")
        return None
    return symbols
