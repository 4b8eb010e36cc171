"""Cases of data2vec 2.0: one training step with given masks and noise, three SGD steps, target ablation."""

import torch

from data2vec.config import RunConfig, validate
from data2vec.interop.names import V2
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks
from golden.kinds.pretraining import check_gradients, check_training, linear_decay, load_weights, strip
from golden.kinds.speech1 import check_local, padding_of, positions_seen, speech_section
from golden.kinds.vision1 import check_targets


def image_sections(e: dict) -> dict:
    return {
        "vision": {"image_size": e["input_size"], "patch_size": e["patch_size"], "channels": e["in_chans"]},
        "model": {
            "absolute_positions": "sincos",
            "alibi": (e.get("alibi_distance") or "manhattan") if e.get("use_alibi_encoder") else "none",
        },
    }


def audio_sections(e: dict) -> dict:
    return {
        "modality": "speech",
        "speech": speech_section(e) | {"feature_grad_mult": e.get("local_grad_mult", 1.0)},
        "mask": {"sampler": "block_1d"},
        "model": {"alibi": "1d" if e.get("use_alibi_encoder") else "none"},
    }


def text_sections(e: dict) -> dict:
    positions = "learned" if e.get("learned_pos", True) else "sincos"
    return {
        "modality": "text",
        "text": {
            "tokens_per_sample": e["max_source_positions"],
            "max_positions": e["max_source_positions"],
            "embedding_norm": e.get("layernorm_embedding", True),
            "embedding_scale": not e.get("no_scale_embedding", True),
        },
        "mask": {"sampler": "random"},
        "model": {
            "absolute_positions": "none" if e.get("no_token_positional_embeddings") else positions,
            "alibi": "1d" if e.get("use_alibi_encoder") else "none",
        },
    }


SECTIONS = {"image": image_sections, "audio": audio_sections, "text": text_sections}


def run_config(c: dict, has_final_norm: bool) -> RunConfig:
    m, e = c["model"], c["model"]["modality"]
    d = e["decoder"]
    sections = SECTIONS[c.get("modality", "image")](e)
    return validate(
        sections
        | {
            "method": "data2vec2",
            "data": {"vocab_size": c["n_words"] + 5} if "n_words" in c else {},
            "model": {
                "dim": m["embed_dim"],
                "depth": m["depth"],
                "heads": m["num_heads"],
                "prenet_depth": e["prenet_depth"],
                "mlp_ratio": m["mlp_ratio"],
                "norm": "pre_released" if m["layer_norm_first"] else "post",
                "norm_eps": m["norm_eps"],
                "final_norm": has_final_norm,
                "alibi_scale_per_head": bool(e.get("learned_alibi_scale_per_head", True)),
                "alibi_scale_per_layer": bool(e.get("learned_alibi_scale_per_layer")),
                "alibi_scale_learned": bool(e.get("learned_alibi_scale", True)),
                "extra_tokens": e.get("num_extra_tokens", 0),
            }
            | sections["model"],
            "target": {
                "top_k": m["average_top_k_layers"],
                "feature": "end" if m["end_of_block_targets"] else "ffn",
                "norm_layer": [k for k in ("batch", "instance", "layer") if m.get(f"{k}_norm_target_layer")],
                "norm_average": ["layer"] * bool(m.get("layer_norm_targets"))
                + ["instance"] * bool(m.get("instance_norm_targets")),
            },
            "teacher": {
                "scope": "trunk" if m["ema_encoder_only"] else ("encoder" if e.get("ema_local_encoder") else "context"),
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
                "d2v": m.get("d2v_loss", 1),
                "cls": m.get("cls_loss", 0),
                "cls_rows": None,
                "reconstruction": m.get("recon_loss", 0),
            },
        }
    )


def build(case):
    config = run_config(case.config, "weights/norm.weight" in case.tensors)
    method = build_method(config).eval()
    load_weights(method, case, V2, teacher_prefix(config))
    return config, method


def teacher_prefix(config: RunConfig) -> str:
    """What the names of a teacher of the shared blocks lack."""
    return "blocks." if config.teacher.scope == "trunk" else ""


def padding_at(case, config: RunConfig) -> torch.Tensor | None:
    """Padding at the resolution of the local features."""
    return case.tensors.get("in/padding_mask") if config.modality == "text" else padding_of(case, config)


def run_v2(case) -> None:
    t, m = case.tensors, case.config["model"]
    config, method = build(case)
    masks = Masks(t["in/mask"], t["in/ids_keep"])  # in the order in which the original gathered them
    batch = Batch(t["in/source"], masks, padding_at(case, config))
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
        regression = case.config.get("modality", "image").upper() + "_regression"
        original = {"regression": regression, "reconstruction": "recon"}.get(name, name)
        case.check(f"out/loss_terms/{original}", term)
    assert len(output.terms) == len(strip(t, "out/loss_terms/"))
    case.check("out/sample_size", output.sample_size)
    case.check("out/pred_var", output.monitors["pred_var"].spread())
    case.check("out/target_var", output.monitors["target_var"].spread())
    case.check("out/masked_pct", 1 - masks.visible.shape[1] / hidden.shape[1])
    if "out/cls_target" in t:
        case.check("out/cls_target", output.target.mean(1).repeat_interleave(rows, 0))
        student = method.encoder(batch.inputs, batch.padding, masks)
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
    check_training(method, case, V2, run, decays, teacher_prefix(config))


def _check_context(case, side: str, context, features, padding, masks):
    """Run a context encoder; check what enters it, its blocks, and what leaves it."""
    seen = []
    handles = [context.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))]
    for block in () if context.blocks is None else context.blocks.blocks:
        handles.append(block.register_forward_hook(lambda module, args, output: seen.append(output[0])))
    tokens = context(features, padding, masks)
    for handle in handles:
        handle.remove()
    if f"mid/{side}/context_output" not in case.tensors:  # a teacher that owns the shared blocks only
        return tokens
    case.check(f"mid/{side}/context_input", seen[0])
    for i, y in enumerate(seen[1:]):
        if f"mid/{side}/prenet_block{i}" in case.tensors:
            case.check(f"mid/{side}/prenet_block{i}", y)
    case.check(f"mid/{side}/context_output", tokens.x)
    if f"mid/{side}/relative_positions" in case.tensors:
        case.check(f"mid/{side}/relative_positions", positions_seen(context, features, padding, masks)[1])
    if f"mid/{side}/alibi_bias" in case.tensors:
        visible = None if masks is None else masks.visible
        scale = {"scale": torch.ones(1, 1, 1, 1, 1)} if len(context.alibi.scale) > 1 else {}
        extra = 0 if context.extra_tokens is None else context.extra_tokens.shape[1]
        bias = torch.func.functional_call(context.alibi, scale, (features.shape[1], visible, extra))
        case.check(f"mid/{side}/alibi_bias", bias.expand_as(case.tensors[f"mid/{side}/alibi_bias"]))
    if f"mid/{side}/context_padding_mask" in case.tensors:
        hidden = (tokens.bias[0] if tokens.bias.dim() == 5 else tokens.bias)[:, 0, 0].isneginf()
        case.check(f"mid/{side}/context_padding_mask", hidden)
    return tokens


def _check_stages(case, method, batch: Batch) -> None:
    t, encoder = case.tensors, method.encoder
    positions = strip(t, "weights/modality_encoders.IMAGE.fixed_positional_encoder.")
    for expected in positions.values():
        case.compare("fixed positions", encoder.context.positions, expected)
    if "mid/conv_features" in t:
        check_local(case, encoder.local, batch.inputs)
    if "mid/position_embedding" in t:
        case.check("mid/position_embedding", encoder.local.position_embedding(batch.inputs))
    local = encoder.local(batch.inputs)
    case.check("mid/local_features", local)
    tokens = _check_context(case, "student", encoder.context, local, batch.padding, batch.masks)
    _, ends = encoder.trunk(tokens.x, tokens.bias, "end")
    for i, y in enumerate(ends):
        case.check(f"mid/student/block{i}", y)
    x = encoder.run_trunk(tokens).x
    x = method.decoder_input(x, batch.masks.visible, t["in/decoder_noise_full"])
    case.check("mid/decoder_input", x)
    side = round(x.shape[1] ** 0.5) if method.decoder.dims == 2 else 1
    x = x.unflatten(1, (side, -1))
    for i, conv in enumerate(method.decoder.convs):
        y = method.decoder.layer(conv, x)
        channels_first = y.permute(0, 3, 1, 2)
        case.check(f"mid/decoder_block{i}", channels_first if method.decoder.dims == 2 else channels_first.squeeze(2))
        x = x + y if method.decoder.residual and x.shape == y.shape else y
    teacher = method.teacher.encoder
    own_local = local if teacher.local is None else teacher.local(batch.inputs)
    full = _check_context(case, "teacher", teacher.context or encoder.context, own_local, batch.padding, None)
    case.check("mid/teacher/block0/input", full.x)
    feature = method.target.feature
    for i, y in enumerate(teacher.trunk(full.x, full.bias, feature)[1]):
        case.check(f"mid/teacher/block{i}/target_feature", y)
    for i, y in enumerate(teacher.trunk(full.x, full.bias, "end")[1]):
        case.check(f"mid/teacher/block{i}/end", y)
    everything = encoder(batch.inputs, batch.padding, feature=feature)
    case.check("out/features_unmasked_eval", torch.cat([everything.extra, everything.x], 1))
    if "out/features_padding_mask" in t:
        extra = torch.nn.functional.pad(batch.padding, (everything.extra.shape[1], 0))
        case.check("out/features_padding_mask", extra)
    tokens = encoder.context(local, batch.padding)
    for i, y in enumerate(encoder.trunk(tokens.x, tokens.bias, feature)[1]):
        case.check(f"out/features_layer_result{i}", y)


def run_ablation(case) -> None:
    config, method = build(case)
    teacher = method.teacher.encoder
    local = (teacher.local or method.encoder.local)(case.tensors["in/source"])
    tokens = (teacher.context or method.encoder.context)(local, padding_at(case, config))
    names = {"attention": "self_attn", "ffn": "ffn", "ffn_residual": "ffn_plus_residual", "end": "end"}
    features = {f: teacher.trunk(tokens.x, tokens.bias, f)[1] for f in names}
    for feature, name in names.items():
        for i, y in enumerate(features[feature]):
            case.check(f"mid/teacher/block{i}/{name}", y)
    check_targets(case, features, config)


KINDS = {"v2": run_v2, "ablation_v2": run_ablation}
