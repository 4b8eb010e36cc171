"""Checkpoint files of the original implementations: imported into a run folder, loaded from there, features equal."""

import re
import tempfile
from pathlib import Path

import torch

from data2vec import config as schema
from data2vec.data.vocabulary import PAD
from data2vec.downstream.features import load_encoder
from data2vec.interop.importing import import_checkpoint
from data2vec.methods.build import build_encoder, build_method
from data2vec.training.checkpoint import load_model
from golden.kinds.speech1 import padding_of


def imported(case):
    """Configuration, all tensors, and the student's encoder of the case's file, after every tensor was found."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        report = import_checkpoint(case.folder / case.description["checkpoint"]["file"], run)
        config = schema.load(run / "config.yaml")
        tensors = load_model(run / "checkpoint" / "model.safetensors")
        encoder = load_encoder(config, run).eval()
    assert not [name for name, reason in report.unused.items() if "does not know" in reason]
    entries = len([n for n in (*report.mapped, *report.unused) if not n.startswith("teacher: ")])
    assert entries == case.description["checkpoint"]["n_model_entries"] - len(teacher_inside(case))
    assert any(name.startswith("teacher.") for name in tensors)
    method = build_method(config)
    known = set(method.state_dict())
    assert set(tensors) <= known
    assert {n for n in known if n.startswith(("encoder.", "decoder."))} <= set(tensors)
    return config, tensors, encoder


def teacher_inside(case) -> list[str]:
    """Entries of the weights that hold a teacher, not a tensor."""
    return [name for name in case.description["checkpoint"]["teacher_entry"] if name.split(".")[-1] == "_ema"]


def run_fairseq(case) -> None:
    config, _, encoder = imported(case)
    source = case.tensors["in/source"]
    padding = padding_of(case, config) if config.modality == "speech" else None
    if config.modality == "text":
        padding = source == PAD
        assert torch.equal(padding, case.tensors["in/padding_mask"])
    output = encoder(source, padding)
    second = config.method == "data2vec2"
    case.check("out/features", torch.cat([output.extra, output.x], 1) if second else output.x)
    tokens = encoder.context(encoder.local(source), padding)
    blocks = {feature: encoder.trunk(tokens.x, tokens.bias, feature)[1] for feature in ("end", "ffn")}
    for name in case.group("out/"):
        if match := re.fullmatch(r"layer(\d+)/(end|ffn)", name):
            case.check(f"out/{name}", blocks[match[2]][int(match[1])])
        elif match := re.fullmatch(r"hidden(\d+)", name):
            case.check(f"out/{name}", [tokens.x, *blocks["end"]][int(match[1])])
        elif match := re.fullmatch(r"layer_result(\d+)", name):
            case.check(f"out/{name}", blocks[config.target.feature][int(match[1])])
    if "out/padding_mask" in case.tensors:
        case.check("out/padding_mask", torch.zeros(output.x.shape[:2]) if padding is None else padding)


def run_beit(case) -> None:
    config, tensors, student = imported(case)
    teacher = build_encoder(config).eval()
    prefix = "teacher.encoder."
    teacher.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    for side, encoder in (("student", student), ("teacher", teacher)):
        output = encoder(case.tensors["in/image"], feature="end")
        case.check(f"out/{side}/features", torch.cat([output.extra, output.x], 1))
        tokens = encoder.context(encoder.local(case.tensors["in/image"]))
        for i, block in enumerate(encoder.trunk(tokens.x, None, "end")[1]):
            case.check(f"out/{side}/block{i}", block)


KINDS = {"fairseq_checkpoint": run_fairseq, "beit_checkpoint": run_beit}
