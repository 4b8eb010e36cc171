"""Folders of Hugging Face models: hidden states, pooled outputs, logits and losses of what is read from them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from data2vec.downstream.classifier import cross_entropy
from data2vec.downstream.ctc import ctc_loss
from data2vec.downstream.sentence import sentence_loss
from data2vec.interop.huggingface import HuggingFaceModel, read_huggingface
from data2vec.interop.pretrained import PretrainedEncoder
from data2vec.nn.encoder import Masks, Tokens, padding_bias


def check_states(case, states: list[Tensor]) -> None:
    """Behind the last block transformers returns the encoder's output where it ends in a norm, as pre-norm speech."""
    *blocks, last = states
    for i, state in enumerate(blocks):
        name = f"out/hidden_state{i}"
        if name in case.tensors:
            case.check(name, state)
    if "out/last_hidden_state" in case.tensors:
        case.check("out/last_hidden_state", last)


def run_speech(case, found: HuggingFaceModel, model: PretrainedEncoder) -> None:
    t = case.tensors
    waveforms, padding = t["in/input_values"], None
    if "in/attention_mask" in t:
        padding = t["in/attention_mask"] == 0
    check_states(case, model.states(waveforms, padding))
    local = model.encoder.local
    if "out/extract_features" in t:
        case.check("out/extract_features", local.norm(local.stack(waveforms)))
    if "out/logits" not in t:
        return
    logits = model.logits(waveforms, padding)
    case.check("out/logits", logits)
    if "out/loss" in t:
        labels = t["in/labels"]
        lengths = (labels >= 0).sum(1)
        frames = model.position_padding(waveforms, padding)
        rows = [slice(i, i + 1) for i in range(len(labels))]
        losses = torch.stack(
            [ctc_loss(logits[r], None if frames is None else frames[r], labels[r], lengths[r]) for r in rows]
        )
        mean = case.config["model"].get("ctc_loss_reduction", "sum") == "mean"
        case.check("out/loss", (losses / lengths).mean() if mean else losses.sum())


def run_text(case, found: HuggingFaceModel, model: PretrainedEncoder) -> None:
    t = case.tensors
    ids = t["in/input_ids"]
    padding = t["in/attention_mask"] == 0 if "in/attention_mask" in t else torch.zeros_like(ids, dtype=torch.bool)
    states = model.states(ids, padding)
    real = ~padding
    for i, state in enumerate(states[:-1]):  # what features are made of
        if f"out/hidden_state{i}" in t:
            case.compare(f"features of layer {i}", state[real], t[f"out/hidden_state{i}"][real])
    # transformers does not zero embeddings at padding, whose outputs nothing uses (pitfall P-H3)
    inside = Tokens(model.encoder.local(ids), padding_bias(padding, 0))
    last, blocks = model.encoder.trunk(inside.x, inside.bias, "end")
    check_states(case, [inside.x, *blocks, last])
    if "out/pooler_output" in t:
        weight, bias = (found.tensors[f"pooler.dense.{p}"] for p in ("weight", "bias"))
        case.check("out/pooler_output", torch.tanh(F.linear(states[-1][:, 0], weight, bias)))
    if "out/logits" not in t:
        return
    logits = model.logits(ids)
    if model.task == "words":
        case.compare("logits of tokens", logits[real], t["out/logits"][real])
        logits = model.model.head(last, model.encoder.local.tokens.weight)
    case.check("out/logits", logits)
    if "out/loss" not in t:
        return
    labels = t["in/labels"]
    loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten()) if model.task == "words" else None
    case.check("out/loss", sentence_loss(logits, labels).mean() if loss is None else loss)


def run_vision(case, found: HuggingFaceModel, model: PretrainedEncoder) -> None:
    t = case.tensors
    images, masks = t["in/pixel_values"], None
    if "in/bool_masked_pos" in t:
        masks = Masks(t["in/bool_masked_pos"].bool(), None)
    states = model.states(images, masks=masks)
    check_states(case, states)
    if "out/pooler_output" in t:
        mean = case.config["model"].get("use_mean_pooling", True)
        pooled = states[-1][:, 1:].mean(1) if mean else states[-1][:, 0]
        if mean:
            weight, bias = (found.tensors[f"norm.{p}"] for p in ("weight", "bias"))
            pooled = F.layer_norm(pooled, pooled.shape[-1:], weight, bias, found.config.model.norm_eps)
        case.check("out/pooler_output", pooled)
    if "out/logits" in t:
        logits = model.logits(images)
        case.check("out/logits", logits)
        if "out/loss" in t:
            case.check("out/loss", cross_entropy(logits, t["in/labels"]).mean())


def run(case) -> None:
    found = read_huggingface(case.folder / "model")
    model = PretrainedEncoder(found.config, found.tensors)
    {"speech": run_speech, "text": run_text, "vision": run_vision}[found.config.modality](case, found, model)


KINDS = {"hf": run}
