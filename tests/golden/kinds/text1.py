"""Cases of data2vec 1.0 on text: a training step with given tokens, three SGD steps, target ablation."""

from data2vec.config import RunConfig, validate
from data2vec.data.vocabulary import PAD
from data2vec.interop.names import rename, v1_text
from data2vec.methods.build import build_method
from data2vec.methods.data2vec import Data2Vec
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks
from golden.kinds.pretraining import check_gradients, check_training, linear_decay, load_weights
from golden.kinds.vision1 import check_targets

PREFIX = "encoder.sentence_encoder."  # of the teacher's names within the student's


def run_config(c: dict, vocab_size: int) -> RunConfig:
    m, t = c["model"], c["model"]["transformer"]
    e = t["encoder"]
    assert t.get("activation_fn", "gelu") == "gelu"
    positions = "learned" if e.get("learned_pos", True) else "sincos"
    scale = m.get("loss_scale")
    return validate(
        {
            "modality": "text",
            "method": "data2vec",
            "data": {"vocab_size": vocab_size},
            "text": {
                "tokens_per_sample": t["max_source_positions"],
                "max_positions": t["max_source_positions"],
                "embedding_norm": t.get("layernorm_embedding", True),
                "embedding_scale": not t.get("no_scale_embedding", True),
                "embedding_dropout": 0.0,
                "teacher_input": c.get("target_style", "full"),
            },
            "model": {
                "dim": e["embed_dim"],
                "depth": e["layers"],
                "heads": e["attention_heads"],
                "mlp_ratio": e["ffn_embed_dim"] / e["embed_dim"] + 1e-9,
                "norm": "pre" if e["normalize_before"] else "post",
                "final_norm": e["normalize_before"],
                "absolute_positions": "none" if t.get("no_token_positional_embeddings") else positions,
                "head_layers": m["head_layers"],
            },
            "mask": {"sampler": "tokens"},
            "target": {
                "top_k": m["average_top_k_layers"],
                "norm_layer": [k for k in ("batch", "instance", "layer") if m.get(f"{k}_norm_target_layer")],
                "norm_average": ["layer"] * bool(m.get("layer_norm_targets"))
                + ["instance"] * bool(m.get("instance_norm_targets")),
            },
            "teacher": {
                "scope": "encoder",
                "copied": ["local.*"] if m.get("ema_transformer_layers_only") else [],
            },
            "loss": {
                "beta": m["loss_beta"],
                "scale": "inv_sqrt_dim" if scale is None or scale <= 0 else scale,
            },
        }
    )


def build(case) -> tuple[RunConfig, Data2Vec, list]:
    vocab_size = len(case.tensors[f"weights/{PREFIX}embed_tokens.weight"])
    config = run_config(case.config, vocab_size)
    method = build_method(config).eval()
    rules = v1_text(config.model.head_layers)
    load_weights(method, case, rules, PREFIX)
    return config, method, rules


def check_side(case, side: str, encoder, tokens):
    """One encoder from ids to its last block."""
    padding = tokens == PAD
    positions = encoder.local.position_embedding(tokens)
    if f"mid/{side}/position_embedding" in case.tensors:
        case.check(f"mid/{side}/position_embedding", positions)
    local = encoder.local(tokens)
    case.check(f"mid/{side}/embedding_normed", local)
    inside = encoder.context(local, padding)
    case.check(f"mid/{side}/layer_input", inside.x)
    for name in ("end", "ffn"):
        x, blocks = encoder.trunk(inside.x, inside.bias, name)
        for i, y in enumerate(blocks):
            case.check(f"mid/{side}/layer{i}/{name}", y)
    return x


def run_v1(case) -> None:
    t, m = case.tensors, case.config["model"]
    _, method, rules = build(case)
    tokens, full, hidden = t["in/src_tokens"], t["in/target_tokens"], t["in/mask"]
    mask_id = method.encoder.local.tokens.num_embeddings - 1
    assert ((tokens == mask_id) == hidden).all()
    encoded = check_side(case, "student", method.encoder, tokens)
    check_side(case, "teacher", method.teacher.encoder, full)
    case.check("mid/student/encoder_output", encoded)
    case.check("mid/head_input", encoded[hidden])
    batch = Batch(tokens, Masks(hidden, None), tokens == PAD, full, full == PAD)

    def run():
        return method(batch)

    output = run()
    case.check("out/target_all_positions", output.target)
    case.check("out/target", output.target[hidden])
    case.check("out/pred", output.pred[hidden])
    case.check("out/loss", output.loss)
    case.check("out/sample_size", output.sample_size)
    sentence = tokens.where(~hidden, full)
    case.check("out/features_eval", method.encoder(sentence, sentence == PAD).x)
    method.zero_grad()
    output.loss.backward()
    check_gradients(method, case, rules)
    decays = linear_decay(m["ema_decay"], m["ema_end_decay"], m["ema_anneal_end_step"], (1, 2, 3))
    check_training(method, case, rules, run, decays, PREFIX)
    for name in (n for n in t if n.startswith("ema/step")):
        if rename(PREFIX + name.split("/", 2)[2], rules) is None:
            case.ignore(name, "a buffer of the original's that carries no information")


def run_ablation(case) -> None:
    config, method, _ = build(case)
    encoder, tokens = method.teacher.encoder, case.tensors["in/target_tokens"]
    inside = encoder.context(encoder.local(tokens), tokens == PAD)
    names = {"attention": "self_attn", "ffn": "ffn", "ffn_residual": "ffn_plus_residual", "end": "end"}
    features = {name: encoder.trunk(inside.x, inside.bias, feature)[1] for feature, name in names.items()}
    for name, blocks in features.items():
        for i, y in enumerate(blocks):
            if f"mid/teacher/layer{i}/{name}" in case.tensors:  # pre-norm layers have no norm behind the residual
                case.check(f"mid/teacher/layer{i}/{name}", y)
    check_targets(case, features, config)


KINDS = {"v1_text": run_v1, "ablation_v1_text": run_ablation}
