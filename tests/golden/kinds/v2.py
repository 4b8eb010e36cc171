"""Cases of data2vec 2.0: one training step with given masks and noise, three SGD steps, target ablation."""

import torch
from golden.kinds.pretraining import check_gradients, check_training, linear_decay, load_weights, strip
from golden.kinds.vision1 import check_targets

from data2vec.config import RunConfig, validate
from data2vec.interop.names import V2
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks


def run_config(c: dict, has_final_norm: bool) -> RunConfig:
    m, e = c["model"], c["model"]["modality"]
    d = e["decoder"]
    alibi = "none"
    if e.get("use_alibi_encoder"):
        alibi = e.get("alibi_distance") or "manhattan"
    return validate(
        {
            "method": "data2vec2",
            "vision": {"image_size": e["input_size"], "patch_size": e["patch_size"], "channels": e["in_chans"]},
            "model": {
                "dim": m["embed_dim"],
                "depth": m["depth"],
                "heads": m["num_heads"],
                "prenet_depth": e["prenet_depth"],
                "mlp_ratio": m["mlp_ratio"],
                "norm": "pre_released" if m["layer_norm_first"] else "post",
                "norm_eps": m["norm_eps"],
                "final_norm": has_final_norm,
                "absolute_positions": "sincos",
                "alibi": alibi,
                "alibi_scale_per_head": bool(e.get("learned_alibi_scale_per_head", True)),
                "extra_tokens": e["num_extra_tokens"],
            },
            "target": {
                "top_k": m["average_top_k_layers"],
                "feature": "end" if m["end_of_block_targets"] else "ffn",
                "norm_layer": [k for k in ("batch", "instance", "layer") if m.get(f"{k}_norm_target_layer")],
                "norm_average": ["layer"] * bool(m.get("layer_norm_targets"))
                + ["instance"] * bool(m.get("instance_norm_targets")),
            },
            "teacher": {
                "scope": "trunk" if m["ema_encoder_only"] else ("encoder" if e["ema_local_encoder"] else "context"),
            },
            "decoder": {
                "dim": d["decoder_dim"],
                "layers": d["decoder_layers"],
                "kernel": d["decoder_kernel"],
                "groups": d["decoder_groups"],
                "residual": d["decoder_residual"],
                "projection_layers": d["projection_layers"],
                "positions_masked": d["add_positions_masked"],
                "positions_all": d["add_positions_all"],
            },
            "loss": {
                "beta": m["loss_beta"],
                "scale": "inv_sqrt_dim" if m["loss_scale"] is None else m["loss_scale"],
                "d2v": m["d2v_loss"],
                "cls": m["cls_loss"],
                "cls_rows": None,
                "reconstruction": m["recon_loss"],
            },
        }
    )


def build(case):
    config = run_config(case.config, "weights/norm.weight" in case.tensors)
    method = build_method(config).eval()
    load_weights(method, case, V2)
    return config, method


def run_v2(case) -> None:
    t, m = case.tensors, case.config["model"]
    _, method = build(case)
    masks = Masks(t["in/mask"], t["in/ids_keep"])  # in the order in which the original gathered them
    batch = Batch(t["in/source"], masks)
    _check_stages(case, method, batch)

    def run():
        return method(batch, noise=t["in/decoder_noise_full"], monitor=True)

    output = run()
    hidden = masks.is_masked
    rows = len(hidden) // len(output.target)
    target = output.target.repeat_interleave(rows, 0)
    case.check("mid/decoder_output", output.pred)
    case.check("out/target_all_positions", output.target)
    case.check("out/target", target[hidden])
    case.check("out/pred", output.pred[hidden])
    case.check("out/loss", output.loss)
    for name, term in output.terms.items():
        original = {"regression": "IMAGE_regression", "reconstruction": "recon"}.get(name, name)
        case.check(f"out/loss_terms/{original}", term)
    assert len(output.terms) == len(strip(t, "out/loss_terms/"))
    case.check("out/sample_size", output.sample_size)
    case.check("out/pred_var", output.monitors["pred_var"])
    case.check("out/target_var", output.monitors["target_var"])
    case.check("out/masked_pct", hidden.float().mean())
    if "out/cls_target" in t:
        case.check("out/cls_target", output.target.mean(1).repeat_interleave(rows, 0))
        student = method.encoder(batch.inputs, None, masks)
        case.check("out/cls_pred", student.extra[:, -1])
    if method.reconstruct is not None:
        case.check("out/recon_pred", method.reconstruct(output.pred)[hidden])
        pixels = method.encoder.local.reconstruction_targets(batch.inputs)
        case.check("out/recon_target", pixels.repeat_interleave(rows, 0)[hidden])
    method.zero_grad()
    output.loss.backward()
    check_gradients(method, case, V2)
    for name in (n for n in t if n.startswith("ema/") and n.endswith("positions")):
        case.check(name, method.encoder.context.positions)  # fixed: equal on both sides at every step
    decays = linear_decay(m["ema_decay"], m["ema_end_decay"], m["ema_anneal_end_step"], (1, 2, 3))
    check_training(method, case, V2, run, decays)


def _check_context(case, side: str, context, features, masks):
    """Run a context encoder; check what enters it, its blocks, and what leaves it."""
    seen = []
    first = context.blocks.blocks[0] if isinstance(context.norm, torch.nn.Identity) else context.norm
    handles = [first.register_forward_pre_hook(lambda module, args: seen.append(args[0]))]
    for block in () if context.blocks is None else context.blocks.blocks:
        handles.append(block.register_forward_hook(lambda module, args, output: seen.append(output[0])))
    tokens = context(features, None, masks)
    for handle in handles:
        handle.remove()
    case.check(f"mid/{side}/context_input", seen[0])
    for i, y in enumerate(seen[1:]):
        if f"mid/{side}/prenet_block{i}" in case.tensors:
            case.check(f"mid/{side}/prenet_block{i}", y)
    case.check(f"mid/{side}/context_output", tokens.x)
    return tokens


def _check_stages(case, method, batch: Batch) -> None:
    t, encoder = case.tensors, method.encoder
    positions = strip(t, "weights/modality_encoders.IMAGE.fixed_positional_encoder.")
    for expected in positions.values():
        case.compare("fixed positions", encoder.context.positions, expected)
    local = encoder.local(batch.inputs)
    case.check("mid/local_features", local)
    tokens = _check_context(case, "student", encoder.context, local, batch.masks)
    _, ends = encoder.trunk(tokens.x, tokens.bias, "end")
    for i, y in enumerate(ends):
        case.check(f"mid/student/block{i}", y)
    if encoder.context.alibi is not None:
        case.check("mid/student/alibi_bias", tokens.bias)
    x = encoder.run_trunk(tokens).x
    x = method.decoder_input(x, batch.masks.visible, t["in/decoder_noise_full"])
    case.check("mid/decoder_input", x)
    side = round(x.shape[1] ** 0.5)
    x = x.unflatten(1, (side, side))
    for i, conv in enumerate(method.decoder.convs):
        y = method.decoder.layer(conv, x)
        case.check(f"mid/decoder_block{i}", y.permute(0, 3, 1, 2))
        x = x + y if method.decoder.residual and x.shape == y.shape else y
    teacher = method.teacher.encoder
    own_local = local if teacher.local is None else teacher.local(batch.inputs)
    full = _check_context(case, "teacher", teacher.context or encoder.context, own_local, None)
    case.check("mid/teacher/block0/input", full.x)
    if "mid/teacher/alibi_bias" in t:
        case.check("mid/teacher/alibi_bias", full.bias.expand_as(t["mid/teacher/alibi_bias"]))
    feature = method.target.feature
    for i, y in enumerate(teacher.trunk(full.x, full.bias, feature)[1]):
        case.check(f"mid/teacher/block{i}/target_feature", y)
    for i, y in enumerate(teacher.trunk(full.x, full.bias, "end")[1]):
        case.check(f"mid/teacher/block{i}/end", y)
    everything = encoder(batch.inputs, feature=feature)
    case.check("out/features_unmasked_eval", torch.cat([everything.extra, everything.x], 1))
    tokens = encoder.context(local)
    for i, y in enumerate(encoder.trunk(tokens.x, tokens.bias, feature)[1]):
        case.check(f"out/features_layer_result{i}", y)


def run_ablation(case) -> None:
    config, method = build(case)
    teacher = method.teacher.encoder
    assert teacher.local is not None
    tokens = teacher.context(teacher.local(case.tensors["in/source"]))
    names = {"attention": "self_attn", "ffn": "ffn", "ffn_residual": "ffn_plus_residual", "end": "end"}
    features = {f: teacher.trunk(tokens.x, tokens.bias, f)[1] for f in names}
    for feature, name in names.items():
        for i, y in enumerate(features[feature]):
            case.check(f"mid/teacher/block{i}/{name}", y)
    check_targets(case, features, config)


KINDS = {"v2": run_v2, "ablation_v2": run_ablation}
