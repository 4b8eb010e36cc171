"""Cases of masked language modelling: encoder, logits, loss and gradients on given corrupted tokens."""

import torch
from torch import nn

from data2vec.config import RunConfig, validate
from data2vec.data.vocabulary import PAD
from data2vec.interop.names import Rule, part, rename, translate, within
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks, padding_bias
from golden.kinds.pretraining import strip

TYPES = "roberta.embeddings.token_type_embeddings.weight"  # added to every token; we have no such table
LAYER: list[Rule] = [
    (r"attention\.self\.query\.(.*)", r"attn.qkv.\1#q"),
    (r"attention\.self\.key\.(.*)", r"attn.qkv.\1#k"),
    (r"attention\.self\.value\.(.*)", r"attn.qkv.\1#v"),
    (r"attention\.output\.dense\.(.*)", r"attn.proj.\1"),
    (r"attention\.output\.LayerNorm\.(.*)", r"norm1.\1"),
    (r"intermediate\.dense\.(.*)", r"mlp.fc1.\1"),
    (r"output\.dense\.(.*)", r"mlp.fc2.\1"),
    (r"output\.LayerNorm\.(.*)", r"norm2.\1"),
]
NAMES: list[Rule] = [
    (r"roberta\.embeddings\.(?:position_ids|token_type_ids|token_type_embeddings\.weight)", None),
    (r"roberta\.embeddings\.word_embeddings\.(.*)", r"encoder.local.tokens.\1"),
    (r"roberta\.embeddings\.position_embeddings\.(.*)", r"encoder.local.positions.\1"),
    (r"roberta\.embeddings\.LayerNorm\.(.*)", r"encoder.local.norm.\1"),
    *within(r"roberta\.encoder\.layer\.(\d+)\.", LAYER, r"encoder.trunk.blocks.\1."),
    (r"lm_head\.decoder\..*", None),  # the token embeddings and the bias below
    (r"lm_head\.bias", r"head.bias"),
    (r"lm_head\.dense\.(.*)", r"head.dense.\1"),
    (r"lm_head\.layer_norm\.(.*)", r"head.norm.\1"),
]


def run_config(m: dict) -> RunConfig:
    assert m["pad_token_id"] == PAD and m.get("hidden_act", "gelu") == "gelu"
    length = m["max_position_embeddings"] - PAD - 1
    return validate(
        {
            "modality": "text",
            "method": "masked_lm",
            "data": {"vocab_size": m["vocab_size"]},
            "text": {"tokens_per_sample": length, "max_positions": length, "embedding_dropout": 0.0},
            "model": {
                "dim": m["hidden_size"],
                "depth": m["num_hidden_layers"],
                "heads": m["num_attention_heads"],
                "mlp_ratio": m["intermediate_size"] / m["hidden_size"] + 1e-9,
                "absolute_positions": "learned",
            },
            "mask": {"sampler": "tokens"},
        }
    )


def build(case):
    method = build_method(run_config(case.config["model"])).eval()
    for module in method.modules():
        if isinstance(module, nn.LayerNorm):  # Hugging Face's default is smaller than RoBERTa's 1e-5
            module.eps = case.config["model"].get("layer_norm_eps", 1e-12)
    weights, parameters = strip(case.tensors, "weights/"), dict(method.named_parameters())
    assert torch.equal(weights["lm_head.decoder.weight"], weights["roberta.embeddings.word_embeddings.weight"])
    assert torch.equal(weights["lm_head.decoder.bias"], weights["lm_head.bias"])
    ours = translate(weights, NAMES, parameters)
    ours["encoder.local.positions.weight"] = ours["encoder.local.positions.weight"] + weights[TYPES][0]
    method.load_state_dict(ours)
    return method


def run(case) -> None:
    t = case.tensors
    method = build(case)
    tokens, padding, is_selected = t["in/input_ids"], t["in/attention_mask"] == 0, t["in/labels"] >= 0
    assert ((tokens == PAD) == padding).all()
    local = method.encoder.local(tokens)
    case.check("mid/hidden_state0", local)
    # not through the context, which sets padding to zero: the original computes on with it, unseen by the rest
    x, blocks = method.encoder.trunk(local, padding_bias(padding, 0), "end")
    for i, y in enumerate(blocks, start=1):
        case.check(f"mid/hidden_state{i}", y)
    case.check("out/logits", method.logits(x))
    words = torch.where(is_selected, t["in/labels"], tokens)
    output = method(Batch(tokens, Masks(is_selected, None), padding, words, padding))
    loss = output.loss / output.sample_size
    case.check("out/loss", loss)
    loss.backward()
    gradients = {n: p.grad for n, p in method.named_parameters()}
    positions = gradients["encoder.local.positions.weight"]
    for name in strip(t, "grad/"):
        if name == TYPES:
            expected = torch.zeros_like(t[f"grad/{name}"])
            expected[0] = positions.sum(0)
            case.check(f"grad/{name}", expected)
        elif (new := rename(name, NAMES)) is not None:
            case.check(f"grad/{name}", part(gradients, new).reshape(t[f"grad/{name}"].shape))


KINDS = {"mlm_hf": run}
