"""Speech recognition head: logits, loss, gradients and layer-wise learning-rate factors of both encoders."""

import torch

from data2vec.config import validate
from data2vec.downstream.ctc import CTCModel, ctc_loss, log_probabilities
from data2vec.interop.names import V2, Rule, rename, translate, v1_speech, within
from data2vec.modalities.speech import build_encoder
from data2vec.training.layer_decay import layer_decay_scales
from golden.kinds.pretraining import check_gradients, strip
from golden.kinds.speech1 import encoder_sections, padding_of, speech_section


def data2vec2_sections(m: dict) -> dict:
    e = m["modalities"]["audio"]
    return {
        "method": "data2vec2",
        "modality": "speech",
        "speech": speech_section(e),
        "model": {
            "dim": m["embed_dim"],
            "depth": m["depth"],
            "heads": m["num_heads"],
            "prenet_depth": e.get("prenet_depth", 4),
            "mlp_ratio": m.get("mlp_ratio", 4.0),
            "norm_eps": m.get("norm_eps", 1e-6),
            "alibi": "1d" if e.get("use_alibi_encoder") else "none",
            "alibi_scale_per_head": bool(e.get("learned_alibi_scale_per_head")),
            "alibi_scale_per_layer": bool(e.get("learned_alibi_scale_per_layer")),
            "alibi_scale_learned": bool(e.get("learned_alibi_scale")),
            "extra_tokens": e.get("num_extra_tokens", 0),
        },
        "decoder": {"dim": e["decoder"]["decoder_dim"], "groups": e["decoder"]["decoder_groups"]},
        "mask": {"sampler": "block_1d"},
    }


def run(case) -> None:
    t, m = case.tensors, case.config["model"]
    first = m["_name"] == "data2vec_audio"
    sections = encoder_sections(m) if first else data2vec2_sections(m)
    sections["speech"]["feature_grad_mult"] = case.config["finetune"]["feature_grad_mult"]
    config = validate(sections | {"target": {"top_k": 1}})
    classes = len(t["weights/w2v_encoder.proj.bias"])
    model = CTCModel(build_encoder(config), config.model.dim, classes).eval()
    names = v1_speech(config.model.norm == "pre") if first else V2
    rules: list[Rule] = [
        (r"w2v_encoder\.proj\.(.*)", r"output.\1"),
        *within(r"w2v_encoder\.w2v_model\.", names),
    ]
    parameters = dict(model.named_parameters())
    weights = translate(strip(t, "weights/"), rules, parameters)
    assert set(weights) <= set(parameters)
    assert set(parameters) - set(weights) <= {"encoder.context.mask_token"}
    model.load_state_dict(weights, strict=False)
    padding = padding_of(case, config)
    logits = model(t["in/source"], padding)
    case.check("out/encoder_logits", logits)
    if "out/padding_mask" in t:
        case.check("out/padding_mask", torch.zeros(logits.shape[:2], dtype=torch.bool) if padding is None else padding)
    lengths = torch.full((len(logits),), logits.shape[1]) if padding is None else (~padding).sum(1)
    case.check("out/input_lengths", lengths)
    case.check("out/log_probs", log_probabilities(logits, padding))
    loss = ctc_loss(logits, padding, t["in/targets"], t["in/target_lengths"])
    case.check("out/loss", loss)
    sentences = case.config.get("sentence_avg", True)
    case.check("out/sample_size", len(logits) if sentences else t["in/target_lengths"].sum())
    loss.backward()
    check_gradients(model, case, rules)
    frozen = config.speech.feature_grad_mult == 0
    stack = model.encoder.local.stack
    assert all((p.grad is None) == frozen for p in stack.parameters())
    scales = layer_decay_scales(list(parameters), "data2vec2", case.config["finetune"].get("layer_decay", 1.0))
    for name in strip(t, "param_opt/"):
        new = rename(name, rules)
        assert new is not None
        case.check(f"param_opt/{name}", torch.tensor([scales[new]]))


KINDS = {"ft_ctc": run}
