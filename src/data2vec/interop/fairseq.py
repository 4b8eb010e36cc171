"""What a fairseq checkpoint of data2vec is: names and configuration of 1.0 speech and text and of 2.0.

state_dict_layouts.md sections 2.1, 2.2, 2.5 to 2.8. Sections of the configuration follow from shapes where they
can, else from the stored configuration; 1.0 images are in `data2vec.interop.beit`.
"""

import math
from typing import Any

from data2vec.errors import UserError
from data2vec.interop.facts import Facts, Layout, Sections, convolutions, ratio
from data2vec.interop.names import V2, v1_speech, v1_text

MODALITIES = {"IMAGE": "vision", "AUDIO": "speech", "TEXT": "text"}


def speech1(facts: Facts) -> Layout:
    """data2vec 1.0 on speech, and wav2vec 2.0, whose encoder is the same."""
    dim = facts.shape("encoder.layer_norm.weight", 1)[0]
    pre = bool(facts.assume(False, "layer norm in front of the blocks", "layer_norm_first"))
    single = facts.find("encoder.pos_conv.0.weight_v", 3)
    if single is not None:
        first, positions = single, {"pos_conv_depth": 1, "pos_conv_width": single[2]}
    else:
        first = facts.shape("encoder.pos_conv.0.0.weight", 3)
        positions = position_chain(facts, "encoder.pos_conv.{}.0.weight", 0, "conv_pos", "pos_conv_depth")
    sections: Sections = {
        "speech": waveform(facts, "feature_extractor.", "conv_feature_layers")
        | positions
        | {"pos_conv_groups": facts.measured(dim // first[1], "conv_pos_groups"), "pos_conv_padding": "released"},
        "model": {
            **fairseq_layers(facts, "encoder.layers.", dim, "encoder_attention_heads"),
            "norm": "pre" if pre else "post",
            "final_norm": pre,
        },
        "mask": mask(facts, ""),
    } | learning(facts)
    if (copied := facts.told("ema_layers_only")) is not None:
        sections["teacher"]["copied"] = ["context.pos_conv.*"] if copied else []
    name = "wav2vec 2.0" if facts.has(r"quantizer\..*") or facts.told("_name") == "wav2vec2" else "data2vec 1.0"
    return Layout(f"fairseq, {name} speech", "data2vec", "speech", sections, v1_speech(pre))


def text1(facts: Facts) -> Layout:
    """data2vec 1.0 on text, and RoBERTa, whose encoder is the same."""
    inside = "encoder.sentence_encoder." if facts.has(r"encoder\.sentence_encoder\..*") else "decoder.sentence_encoder."
    dim = facts.shape(f"{inside}embed_tokens.weight", 2)[1]
    pre = facts.has(r"\w+\.sentence_encoder\.layer_norm\.weight")
    facts.measured(pre, "transformer.encoder.normalize_before", "encoder_normalize_before")
    head_layers = max(1, len(facts.numbers(r"encoder\.regression_head\.(\d+)\.")))
    heads = ("transformer.encoder.attention_heads", "encoder_attention_heads")
    sections: Sections = {
        **embedding(facts, inside, "transformer.encoder.learned_pos"),
        "mask": {},
    } | learning(facts)
    positions = sections.pop("positions")
    sections["model"] = {
        **fairseq_layers(facts, f"{inside}layers.", dim, *heads),
        "norm": "pre" if pre else "post",
        "final_norm": pre,
        "head_layers": head_layers,
        **positions,
    }
    if (copied := facts.told("ema_transformer_layers_only")) is not None:
        sections["teacher"]["copied"] = ["local.*"] if copied else []
    first = "data2vec 1.0" if facts.has(r"encoder\.regression_head\..*") else "RoBERTa or fine-tuned data2vec 1.0"
    return Layout(f"fairseq, {first} text", "data2vec", "text", sections, v1_text(head_layers))


def multi(facts: Facts) -> Layout:
    """data2vec 2.0 on images, speech or text."""
    found = [m for m in MODALITIES if facts.has(rf"modality_encoders\.{m}\..*")]
    if len(found) != 1:
        raise UserError(f"the checkpoint has encoders of {len(found)} modalities; one is needed")
    modality, stored = f"modality_encoders.{found[0]}.", f"modalities.{found[0].lower()}."
    dim = facts.shape("blocks.0.norm1.weight", 1)[0]
    hidden = facts.shape("blocks.0.mlp.fc1.weight", 2)[0]
    alibi, found_heads = distance_bias(facts, modality, stored)
    facts.measured(dim, "embed_dim")
    extra = (facts.find(f"{modality}extra_tokens", 3) or (1, 0, dim))[1]
    depth, prenet = facts.count(r"blocks\.(\d+)\."), facts.count(rf"{modality}context_encoder\.blocks\.(\d+)\.")
    model = {
        "dim": dim,
        "heads": facts.heads(dim, "num_heads", found=found_heads),
        "depth": facts.measured(depth, "depth"),
        "prenet_depth": facts.measured(prenet, f"{stored}prenet_depth"),
        "mlp_ratio": ratio(hidden, dim),
        "norm": "pre_released" if facts.told("layer_norm_first") else "post",
        "norm_eps": facts.assume(1e-6 if modality.endswith("IMAGE.") else 1e-5, "norm_eps", "norm_eps"),
        "final_norm": facts.has(r"norm\.weight"),
        "extra_tokens": facts.measured(extra, f"{stored}num_extra_tokens"),
        **alibi,
    }
    if int(dim * (facts.number("mlp_ratio") or hidden / dim)) != hidden:
        facts.measured(hidden / dim, "mlp_ratio")
    own = {"IMAGE": images2, "AUDIO": speech2, "TEXT": text2}[found[0]](facts, modality, stored, dim)
    sections: Sections = own | learning(facts) | {"decoder": decoder(facts, modality, stored, dim)}
    sections["model"] = model | sections.pop("positions", {})
    sections["mask"] = mask(facts, stored)
    name = MODALITIES[found[0]]
    return Layout(f"fairseq, data2vec 2.0 {name}", "data2vec2", name, sections, V2)


def images2(facts: Facts, modality: str, stored: str, dim: int) -> Sections:
    """Geometry of 2.0's images: patches from the projection, size from the positions' number."""
    channels, patch = facts.shape(f"{modality}local_encoder.proj.weight", 4)[1:3]
    places = [f"{modality}{name}" for name in ("fixed_positional_encoder.positions", "positional_encoder.pos_embed")]
    table = next((facts.find(name, 3) for name in places if name in facts.shapes), None)
    fixed = table is not None or bool(facts.told(f"{stored}fixed_positions"))
    if table is not None:
        size = facts.measured(math.isqrt(table[1]) * patch, f"{stored}input_size")
    else:
        size = facts.assume(224, "vision.image_size", f"{stored}input_size", "input_size")
    return {
        "vision": {"image_size": size, "patch_size": patch, "channels": channels},
        "positions": {"absolute_positions": "sincos" if fixed else "none"},
    }


def speech2(facts: Facts, modality: str, stored: str, dim: int) -> Sections:
    """Front end of 2.0's speech."""
    encoder = f"{modality}relative_positional_encoder."
    first = 2 if facts.has(rf"{encoder}1\.1\.0\.weight") else 1
    name = encoder + ("1.{}.0.weight" if first == 2 else "{}.0.weight")
    chain = position_chain(facts, name, 1, f"{stored}conv_pos_width", f"{stored}conv_pos_depth")
    return {
        "speech": waveform(facts, f"{modality}local_encoder.", f"{stored}feature_encoder_spec")
        | chain
        | {
            "feature_grad_mult": facts.told(f"{stored}local_grad_mult") or 1.0,
            "pos_conv_groups": facts.measured(dim // facts.shape(name.format(1), 3)[1], f"{stored}conv_pos_groups"),
            "pos_conv_norm": facts.has(rf"{encoder}0\.weight"),
            "pos_conv_padding": "released",
        },
    }


def text2(facts: Facts, modality: str, stored: str, dim: int) -> Sections:
    """Embedding of 2.0's text."""
    return embedding(facts, f"{modality}local_encoder.", f"{stored}learned_pos", stored)


def waveform(facts: Facts, prefix: str, key: str) -> dict[str, Any]:
    """The convolutional front end: channels and kernels from the weights, strides as stored."""
    shapes = [
        facts.shape(f"{prefix}conv_layers.{i}.0.weight", 3)
        for i in range(facts.count(rf"{prefix}conv_layers\.(\d+)\."))
    ]
    text = facts.told(key)
    stored = convolutions(text) if isinstance(text, str) else []
    strides = [stride for _, _, stride in stored]
    if len(strides) != len(shapes):
        strides = [5 if kernel == 10 else 2 for _, _, kernel in shapes]
        facts.report.assumed.append(f"strides {strides} of the waveform's convolutions, as published")
    layers = [(channels, kernel, stride) for (channels, _, kernel), stride in zip(shapes, strides, strict=True)]
    if stored and stored != layers:
        facts.report.differences.append(f"{key} is stored as {stored}, its tensors say {layers}")
    return {
        "conv_layers": layers,
        "conv_norm": "layer" if facts.has(rf"{prefix}conv_layers\.\d+\.2\.1\.weight") else "group",
        "conv_bias": facts.has(rf"{prefix}conv_layers\.0\.0\.bias"),
    }


def position_chain(facts: Facts, name: str, first: int, width: str, depth: str) -> dict[str, int]:
    """Width and depth of the chained convolutions of the positions, whose names count from `first`."""
    count = 0
    while name.format(first + count) in facts.shapes:
        count += 1
    kernel = facts.shape(name.format(first), 3)[2]
    stored = facts.told(width)
    fits = isinstance(stored, int) and max(3, stored // count) == kernel
    return {
        "pos_conv_depth": facts.measured(count, depth),
        "pos_conv_width": stored if fits else facts.measured(kernel * count, width),
    }


def fairseq_layers(facts: Facts, prefix: str, dim: int, *heads: str) -> dict[str, Any]:
    """Width, depth and heads of a stack of fairseq's Transformer layers."""
    activation = facts.told("activation_fn", "transformer.activation_fn") or "gelu"
    if activation != "gelu":
        raise UserError(f"the stored configuration says activation_fn = {activation}; only gelu is built here")
    hidden = facts.measured(
        facts.shape(f"{prefix}0.fc1.weight", 2)[0], "encoder_ffn_embed_dim", "transformer.encoder.ffn_embed_dim"
    )
    depth = facts.count(rf"{prefix}(\d+)\.")
    return {
        "dim": facts.measured(dim, "encoder_embed_dim", "transformer.encoder.embed_dim"),
        "depth": facts.measured(depth, "encoder_layers", "transformer.encoder.layers"),
        "heads": facts.heads(dim, *heads),
        "mlp_ratio": ratio(hidden, dim),
    }


def embedding(facts: Facts, prefix: str, learned: str, stored: str = "transformer.") -> Sections:
    """Vocabulary and positions of text; `positions` holds what belongs into the model section."""
    vocabulary, _ = facts.shape(f"{prefix}embed_tokens.weight", 2)
    table = facts.find(f"{prefix}embed_positions.weight", 2)
    lengths = (f"{stored}max_source_positions", "max_source_positions", "max_positions", "tokens_per_sample")
    if table is not None:
        positions, most = "learned", facts.measured(table[0] - 2, *lengths)  # the first two rows serve padding
    else:
        none = facts.told(f"{stored}no_token_positional_embeddings", "no_token_positional_embeddings")
        fixed = facts.has(rf"{prefix}embed_positions\..*") or facts.told(learned) is False
        positions = "sincos" if fixed and not none else "none"
        most = facts.assume(512, "text.max_positions", *lengths)
    scaled = facts.told(f"{stored}no_scale_embedding", "no_scale_embedding") is False
    return {
        "data": {"vocab_size": vocabulary},
        "text": {
            "tokens_per_sample": most,
            "max_positions": most,
            "embedding_norm": facts.has(rf"{prefix}(layernorm_embedding|emb_layer_norm)\.weight"),
            "embedding_scale": scaled,
        },
        "positions": {"absolute_positions": positions},
    }


def distance_bias(facts: Facts, modality: str, stored: str) -> tuple[dict[str, Any], int | None]:
    """2.0's ALiBi section, and the number of heads where its scale tells."""
    shape = facts.shapes.get(f"{modality}alibi_scale")
    if shape is not None:
        shape = (1, *shape) if len(shape) == 4 else facts.shape(f"{modality}alibi_scale", 5)
    used = facts.told(f"{stored}use_alibi_encoder")
    if not (shape is not None if used is None else used):
        return {"alibi": "none"}, None
    flat = facts.told(f"{stored}alibi_dims") == 1 or not modality.endswith("IMAGE.")
    shape = shape or (1, 1, 1, 1, 1)
    return {
        "alibi": "1d" if flat else facts.told(f"{stored}alibi_distance") or "manhattan",
        "alibi_scale_per_head": shape[2] > 1 or bool(facts.told(f"{stored}learned_alibi_scale_per_head")),
        "alibi_scale_per_layer": shape[0] > 1,
        "alibi_scale_learned": f"{modality}alibi_scale" in facts.shapes,
    }, (shape[2] if shape[2] > 1 else None)


def decoder(facts: Facts, modality: str, stored: str, dim: int) -> dict[str, Any]:
    """2.0's decoder; {} for a fine-tuned model, which has none."""
    prefix, stored = f"{modality}decoder.", f"{stored}decoder."
    layers = facts.count(rf"{prefix}blocks\.(\d+)\.")
    if not layers:
        return {}
    axes = 4 if modality.endswith("IMAGE.") else 3
    width, inside, kernel = facts.shape(f"{prefix}blocks.0.0.weight", axes)[:3]
    residual = facts.assume(not modality.endswith("TEXT."), "decoder.residual", f"{stored}decoder_residual")
    return {
        "dim": facts.measured(width, f"{stored}decoder_dim"),
        "layers": facts.measured(layers, f"{stored}decoder_layers"),
        "kernel": facts.measured(kernel, f"{stored}decoder_kernel"),
        "groups": facts.measured(dim // inside, f"{stored}decoder_groups"),
        "residual": residual,
        "projection_layers": max(1, len(facts.numbers(rf"{prefix}proj\.(\d+)\."))),
        "positions_masked": bool(facts.told(f"{stored}add_positions_masked")),
        "positions_all": bool(facts.told(f"{stored}add_positions_all")),
    }


def learning(facts: Facts) -> Sections:
    """Target, loss and teacher of the pre-training, as far as they are stored."""
    keys = {
        "loss": {"beta": "loss_beta", "d2v": "d2v_loss", "cls": "cls_loss", "reconstruction": "recon_loss"},
        "teacher": {"start": "ema_decay", "end": "ema_end_decay", "anneal_updates": "ema_anneal_end_step"},
        "target": {"top_k": "average_top_k_layers"},
    }
    sections = {
        section: {ours: value for ours, theirs in names.items() if (value := facts.told(theirs)) is not None}
        for section, names in keys.items()
    }
    if facts.stored.get("average_top_k_layers") is not None:
        kinds = ("batch", "instance", "layer")
        sections["target"]["norm_layer"] = [kind for kind in kinds if facts.told(f"{kind}_norm_target_layer")]
        sections["target"]["norm_average"] = [k for k in ("layer", "instance") if facts.told(f"{k}_norm_targets")]
        sections["target"]["feature"] = "end" if facts.told("end_of_block_targets") else "ffn"
        scale = facts.number("loss_scale") or 0.0
        sections["loss"]["scale"] = float(scale) if scale > 0 else "inv_sqrt_dim"
    return sections


def mask(facts: Facts, stored: str) -> dict[str, Any]:
    """Mask ratio and lengths, as far as they are stored."""
    keys = {"ratio": "mask_prob", "length": "mask_length", "adjust": "mask_prob_adjust"}
    found = {ours: facts.told(stored + theirs) for ours, theirs in keys.items()}
    found["clones"] = facts.told("clone_batch")
    return {key: value for key, value in found.items() if value is not None}
