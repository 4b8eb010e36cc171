"""Cases of data2vec 1.0 on images: the BEiT-based and the fairseq flavour, and the target ablation."""

import numpy as np
import torch
from torch import nn

from data2vec.config import RunConfig, validate
from data2vec.interop.names import V1_VISION_BEIT, V1_VISION_FAIRSEQ
from data2vec.methods.build import build_method
from data2vec.methods.data2vec import Data2Vec
from data2vec.methods.step import Batch
from data2vec.methods.targets import build_targets
from data2vec.modalities.vision import build_encoder
from data2vec.nn.encoder import Masks
from golden.kinds.pretraining import check_gradients, check_training, linear_decay, load_weights

NORMS = {
    "none": ([], []),
    "layer_norm_layer": (["layer"], []),
    "instance_norm_layer": (["instance"], []),
    "batch_norm_layer": (["batch"], []),
    "layer_norm_avg": ([], ["layer"]),
    "instance_norm_avg": ([], ["instance"]),
    "instance_norm_layer+layer_norm_avg": (["instance"], ["layer"]),
    "layer_norm_layer+layer_norm_avg": (["layer"], ["layer"]),
}
FEATURES = {"end": "end", "fc": "ffn", "ffn": "ffn"}


def beit_config(c: dict) -> RunConfig:
    m = c["model"]
    relative = "shared" if m["use_shared_rel_pos_bias"] else "per_block" if m["use_rel_pos_bias"] else "none"
    per_layer = (["instance"] if c.get("target_instance_norm") else []) + (
        ["layer"] if c["target_layer_norm_last"] else []
    )
    scale = "mean" if c["loss_scale"] == -1 else c["loss_scale"] / m["embed_dim"]
    return validate(
        {
            "method": "data2vec",
            "vision": {"image_size": m["img_size"], "patch_size": m["patch_size"], "channels": m["in_chans"]},
            "model": model_values(m, m["norm_eps"], m["init_values"])
            | {
                "relative_positions": relative,
                "absolute_positions": "learned" if m["use_abs_pos_emb"] else "none",
                "qkv_bias": "no_key",
                "mlp_ratio": m["mlp_ratio"],
            },
            "target": {
                "top_k": 1,
                "layers": c["target_layers"],
                "feature": FEATURES[c["layer_results"]],
                "norm_layer": per_layer,
                "norm_average": ["layer"] if c["post_target_layer_norm"] else [],
            },
            "loss": {"beta": 0.0 if c["l2_loss"] else c["l1_beta"], "scale": scale},
        }
    )


def fairseq_config(m: dict) -> RunConfig:
    return validate(
        {
            "method": "data2vec",
            "vision": {
                "image_size": m["image_size"],
                "patch_size": m["patch_size"],
                "channels": m["in_channels"],
            },
            # this flavour ignores the configured ratio of the feed-forward width: always 4
            "model": model_values(m, 1e-5, m["layer_scale_init_value"] or None)
            | {"relative_positions": "shared", "qkv_bias": "no_key", "mlp_ratio": 4},
            "target": {
                "top_k": m["average_top_k_layers"],
                "feature": "end" if m["end_of_block_targets"] else "ffn",
                "norm_layer": [k for k in ("batch", "instance", "layer") if m.get(f"{k}_norm_target_layer")],
                "norm_average": ["layer"] * bool(m["layer_norm_targets"])
                + ["instance"] * bool(m.get("instance_norm_targets")),
            },
            "teacher": {"scope": "trunk"},
            "loss": {
                "beta": m["loss_beta"],
                "scale": "inv_sqrt_dim" if m["loss_scale"] is None else m["loss_scale"],
            },
        }
    )


def model_values(m: dict, norm_eps: float, layer_scale: float | None) -> dict:
    return {
        "dim": m["embed_dim"],
        "depth": m["depth"],
        "heads": m["num_heads"],
        "norm": "pre",
        "norm_eps": norm_eps,
        "final_norm": True,
        "layer_scale": layer_scale,
        "extra_tokens": 1,
    }


def run_beit(case) -> None:
    c = case.config
    method = build_method(beit_config(c)).eval()
    load_weights(method, case, V1_VISION_BEIT)
    decays = []
    for i in range(3):  # each step of the case is an epoch of its own
        start = c["ema_start_at"]
        ramp = c["ema_decay_init"] + (c["ema_decay"] - c["ema_decay_init"]) * (i / start if start else 1)
        decays.append(ramp if i < start else c["ema_decay"])
    _run(case, method, V1_VISION_BEIT, decays)


def run_fairseq(case) -> None:
    m = case.config["model"]
    config = fairseq_config(m)
    method = Data2Vec(config, build_encoder(config), nn.Identity()).eval()
    load_weights(method, case, V1_VISION_FAIRSEQ, "encoder.")
    decays = linear_decay(m["ema_decay"], m["ema_end_decay"], m["ema_anneal_end_step"], (1, 2, 3))
    _run(case, method, V1_VISION_FAIRSEQ, decays, "encoder.")


def _run(case, method: Data2Vec, rules, decays, teacher_prefix: str = "") -> None:
    t = case.tensors
    masks = Masks.from_numpy(np.asarray(t["in/mask"].flatten(1)))
    batch = Batch(t["in/image"], masks)
    encoder = method.encoder
    local = encoder.local(batch.inputs)
    case.check("mid/patch_embed", local)
    tokens = encoder.context(local, None, masks)
    case.check("mid/student/encoder_input", tokens.x)
    for feature, name in (("end", "end"), ("ffn", "fc")):
        x, blocks = encoder.trunk(tokens.x, None, feature)
        for i, y in enumerate(blocks):
            case.check(f"mid/student/block{i}/{name}", y)
        teacher_context = method.teacher.encoder.context or encoder.context
        teacher_local = method.teacher.encoder.local or encoder.local
        full = teacher_context(teacher_local(batch.inputs))
        for i, y in enumerate(method.teacher.encoder.trunk(full.x, None, feature)[1]):
            case.check(f"mid/teacher/block{i}/{name}", y)
    case.check("mid/student/encoder_output", x[:, 1:])
    for side, trunk in (("student", encoder.trunk), ("teacher", method.teacher.encoder.trunk)):
        if trunk.relative_positions is not None:
            case.check(f"mid/{side}/rel_pos_bias", trunk.relative_positions())

    def run():
        return method(batch, monitor=True)

    output = run()
    case.check("out/target_all_patches", output.target)
    case.check("out/target", output.target[masks.is_masked])
    case.check("out/pred", output.pred[masks.is_masked])
    case.check("out/sample_size", output.sample_size)
    beit = "ema_start_at" in case.config
    loss = output.loss / output.sample_size if beit else output.loss
    case.check("out/loss", loss)
    if not beit:
        case.check("out/pred_var", output.monitors["pred_var"].spread())
        case.check("out/target_var", output.monitors["target_var"].spread())
        case.check("out/features_unmasked", encoder(batch.inputs).x)
    method.zero_grad()
    loss.backward()
    check_gradients(method, case, rules)
    check_training(method, case, rules, run, decays, teacher_prefix)


def run_ablation(case) -> None:
    config = fairseq_config(case.config["model"])
    method = Data2Vec(config, build_encoder(config), nn.Identity()).eval()
    load_weights(method, case, V1_VISION_FAIRSEQ, "encoder.")
    encoder, trunk = method.encoder, method.teacher.encoder.trunk
    tokens = encoder.context(encoder.local(case.tensors["in/image"]))
    names = {"attention": "self_attn", "ffn": "fc", "end": "end"}
    features = {f: trunk(tokens.x, None, f)[1] for f in names}
    for feature, name in names.items():
        for i, y in enumerate(features[feature]):
            case.check(f"mid/teacher/block{i}/{name}", y)
    for i, block in enumerate(trunk.blocks):
        case.check(f"mid/teacher/block{i}/ffn_raw", features["ffn"][i] / block.gamma_2)
    check_targets(case, {"end": features["end"], "fc": features["ffn"]}, config)


def check_targets(case, features: dict[str, list[torch.Tensor]], config: RunConfig) -> None:
    """Every `out/target/{feature}/{norm}/k{K}`, from features that still have one extra token in front."""
    names = [n for n in case.tensors if n.startswith("out/target/")]
    assert names
    for name in names:
        _, _, feature, norm, k = name.split("/")
        per_layer, average = NORMS[norm]
        target = config.target.model_copy(
            update={
                "top_k": int(k[1:]),
                "layers": None,
                "norm_layer": per_layer,
                "norm_average": average,
            }
        )
        n = config.model.extra_tokens
        case.check(name, build_targets([f[:, n:] for f in features[feature]], target))


KINDS = {
    "v1_vision_beit": run_beit,
    "v1_vision_fs": run_fairseq,
    "ablation_v1_vision": run_ablation,
}
