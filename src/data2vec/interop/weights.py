"""From the tensors of a source to those of our modules: each one mapped, unused or missing, with a reason."""

import math
import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.errors import UserError
from data2vec.interop.facts import Facts
from data2vec.interop.names import Rule, fuse, rename
from data2vec.interop.report import Report
from data2vec.interop.source import Source
from data2vec.interop.torch_files import StoredTensor
from data2vec.methods.build import build_method
from data2vec.nn.positions import relative_position_index, sincos_positions_2d

Shapes = Mapping[str, Tensor]
"""Parameters without memory, by name."""

HEADS: list[Rule] = [
    (r"w2v_encoder\.proj\.(.*)", r"output.\1"),
    (r"classification_heads\.\w+\.(dense|out_proj)\.(.*)", r"\1.\2"),
    (r"fc_norm\.(.*)", r"norm.\1"),
    (r"(?:head|proj)\.(.*)", r"classifier.\1"),
]
TEACHER_PLACES = ("", "encoder.", "encoder.sentence_encoder.", "blocks.")
"""What was averaged: the names of averaged tensors are relative to it."""

UNKNOWN = "a name that this project does not know"
# Why a tensor that the rules know is left out: by the first pattern that its name begins with.
REASONS = [
    (r".*relative_position_index", "numbers the pairs of positions; computed here"),
    (r".*positional_encoder\.|.*embed_positions\.", "fixed positions; computed here"),
    (r".*\.?version", "a version number"),
    (r".*lm_head\.", "predicts tokens, which data2vec does not"),
    (r"quantizer\.|project_q\.", "wav2vec 2.0's quantiser"),
    (r"final_proj\.", "the original never applies it (pitfall P-V10)"),
]


def expected_shapes(config: RunConfig) -> Shapes:
    """Parameters of student, head or decoder, and teacher of a configuration.

    Raises:
        UserError: it describes no model, so the file that told it is not what it seems.
    """
    try:
        with torch.device("meta"):
            return dict(build_method(config).state_dict())
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"describes no model that can be built ({str(error).splitlines()[0]})") from None


def name_all(names: Iterable[str], rules: list[Rule], unused: dict[str, str]) -> dict[str, str]:
    """Our names of those that have one; the others go into `unused` with a reason."""
    found = {}
    for name in names:
        try:
            ours = rename(name, rules)
        except KeyError:
            unused[name] = UNKNOWN
            continue
        if ours is None:
            reasons = (reason for pattern, reason in REASONS if re.match(pattern, name))
            unused[name] = next(reasons, "a buffer without learned values")
        else:
            found[name] = ours
    return found


def read(found: Mapping[str, StoredTensor], names: Mapping[str, str], shapes: Shapes) -> dict[str, Tensor]:
    """The named tensors by our names, real numbers in float32. Shapes may differ by axes of length 1 only."""
    renamed = {ours: found[theirs].read() for theirs, ours in names.items()}
    renamed = {name: t.float() if t.is_floating_point() else t for name, t in renamed.items()}
    alike = {
        name: shapes[name]
        for name, tensor in renamed.items()
        if name in shapes and _long_axes(tensor) == _long_axes(shapes[name])
    }
    try:
        return fuse(renamed, alike)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"query, key and value of a layer do not belong together ({error})") from None


def student(source: Source, rules: list[Rule], shapes: Shapes, facts: Facts, report: Report) -> dict[str, Tensor]:
    """Encoder, and head or decoder where the file has them.

    Raises:
        UserError: a tensor that the encoder needs is not there or has another shape.
    """
    names = name_all(source.encoder, rules, report.unused)
    tensors = read(source.encoder, names, shapes)
    for theirs, ours in list(names.items()):
        if not ours.startswith("encoder.") and not fits(tensors.get(ours), shapes.get(ours)):
            tensors.pop(ours, None)  # wav2vec 2.0's prediction head, for instance
            report.unused[theirs] = "belongs to a head that this method does not have"
            del names[theirs]
    report.mapped |= names
    for name, shape in shapes.items():
        if name.startswith("encoder.") and name not in tensors:
            tensors[name], report.missing[name] = stand_in(name, shape, facts)
    _require_shapes(tensors, shapes)
    if source.head:
        reason = "removed in fine-tuning"
    else:
        reason = "the original has none"
    parts = ("head.", "decoder.", "reconstruct.")
    report.missing |= {name: reason for name in shapes if name.startswith(parts) and name not in tensors}
    return tensors


def stand_in(name: str, shape: Tensor, facts: Facts) -> tuple[Tensor, str]:
    """What stands in for a parameter of the encoder that the file need not have, and why it need not."""
    if name.endswith(".mask_token"):
        return torch.zeros(shape.shape), "a fine-tuned model hides nothing; zeros"
    if name.endswith("alibi.scale"):
        constants = [facts.told(f"modalities.{modality}.alibi_scale") for modality in ("audio", "image", "text")]
        constant = float(next((c for c in constants if c is not None), 1.0))
        return torch.full(shape.shape, constant), f"the scale is not learned; {constant:g}"
    if name.endswith(("attn.q_bias", "attn.v_bias")):
        return torch.zeros(shape.shape), "the original has no bias there; zeros"
    if name.startswith("encoder.local.proj.") and facts.has(r"feature_extractor\..*"):
        square = shape.dim() == 1 or shape.shape[0] == shape.shape[1]
        if square and not facts.has(r"post_extract_proj\..*"):
            same = torch.eye(len(shape)) if shape.dim() == 2 else torch.zeros(shape.shape)
            return same, "the original has no projection where widths agree; identity"
    raise UserError(f"lacks a tensor that its model needs: {name} of shape {tuple(shape.shape)}")


# ---- teacher


def teacher_names(source: Source, rules: list[Rule], report: Report) -> dict[str, str]:
    """Our names, without `teacher.`, of the averaged tensors by their names in the file."""

    def known(place: str) -> int:
        return sum(place + name in source.encoder for name in source.teacher)

    place = max(TEACHER_PLACES, key=known)
    unused: dict[str, str] = {}
    full = name_all((place + name for name in source.teacher), rules, unused)
    report.unused |= {f"teacher: {name.removeprefix(place)}": reason for name, reason in unused.items()}
    return {name.removeprefix(place): ours for name, ours in full.items()}


def teacher_scope(names: Mapping[str, str]) -> str:
    """`teacher.scope` of a teacher that owns these parts."""
    for scope, stage in (("encoder", "encoder.local."), ("context", "encoder.context.")):
        if any(ours.startswith(stage) for ours in names.values()):
            return scope
    return "trunk"


def teacher(source: Source, names: Mapping[str, str], shapes: Shapes, report: Report) -> dict[str, Tensor]:
    """The averaged weights by the names of a pre-training checkpoint."""
    if not source.teacher:
        report.missing["teacher.*"] = "the file holds no averaged weights"
        return {}
    wanted = {name.removeprefix("teacher."): t for name, t in shapes.items() if name.startswith("teacher.")}
    found = {theirs: ours for theirs, ours in names.items() if ours.partition("#")[0] in wanted}
    report.unused |= {f"teacher: {theirs}": "no part of the teacher here" for theirs in names if theirs not in found}
    report.mapped |= {f"teacher: {theirs}": f"teacher.{ours}" for theirs, ours in found.items()}
    tensors = read(source.teacher, found, wanted)
    _require_shapes(tensors, wanted)
    report.missing |= {f"teacher.{name}": "the original does not average it" for name in wanted if name not in tensors}
    return {f"teacher.{name}": tensor for name, tensor in tensors.items()}


# ---- checks


def fits(tensor: Tensor | None, shape: Tensor | None) -> bool:
    """Whether both are there and have one shape."""
    return tensor is not None and shape is not None and tensor.shape == shape.shape


def _require_shapes(tensors: Shapes, shapes: Shapes) -> None:
    for name, tensor in tensors.items():
        if not fits(tensor, shapes.get(name)):
            needed = f"needs {tuple(shapes[name].shape)}" if name in shapes else "has no such tensor"
            raise UserError(
                f"{name} has the shape {tuple(tensor.shape)}, but the model that its other tensors and its "
                f"stored configuration describe {needed}"
            )


def check_computed(source: Source, config: RunConfig, report: Report) -> None:
    """Compare what is computed here instead of read: fixed positions and the numbering of relative ones."""
    if config.modality != "vision":
        return
    grid, dim = config.vision.grid, config.model.dim
    positions = r".*\.(fixed_positional_encoder\.positions|positional_encoder\.pos_embed)"
    computed: list[tuple[str, int, Callable[[], Tensor]]] = [
        (positions, grid**2 * dim, lambda: sincos_positions_2d(grid, dim)),
        (r".*relative_position_index", (grid**2 + 1) ** 2, lambda: relative_position_index(grid)),
    ]
    for pattern, count, ours in computed:
        for name, stored in source.encoder.items():
            if not re.fullmatch(pattern, name):
                continue
            # computed only if the file has as many numbers: a small file must not ask for a large table
            same = math.prod(stored.shape) == count and torch.allclose(
                stored.read().float().flatten(), ours().float().flatten(), atol=1e-3
            )
            if not same:
                report.differences.append(f"{name} is not what is computed here: features will differ")


def _long_axes(tensor: Tensor) -> list[int]:
    return [n for n in tensor.shape if n != 1]
