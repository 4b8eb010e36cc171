"""Fine-tuning heads on images: features, logits, losses, gradients and layer-wise learning-rate factors."""

import torch

from data2vec.config import RunConfig, validate
from data2vec.downstream.classifier import Classifier, cross_entropy
from data2vec.interop.names import V1_VISION_BEIT, V2, Rule, rename, translate
from data2vec.modalities.vision import build_encoder
from data2vec.training.layer_decay import layer_decay_scales
from golden.kinds.pretraining import check_gradients, strip

V2_CLASSIFIER: list[Rule] = [
    (r"fc_norm\.(.*)", r"norm.\1"),
    (r"head\.(.*)", r"classifier.\1"),
    *((r"model\." + pattern, replacement) for pattern, replacement in V2),
]
BEIT_CLASSIFIER: list[Rule] = [r for r in V1_VISION_BEIT if r[0] != r"norm\.(.*)"]


def load(case, model: Classifier, rules: list[Rule], unset: set[str]) -> None:
    parameters = dict(model.named_parameters())
    weights = translate(strip(case.tensors, "weights/"), rules, parameters)
    assert set(parameters) - set(weights) == unset
    model.load_state_dict(weights, strict=False)


def check_factors(case, model: Classifier, rules: list[Rule], rule: str, decay: float) -> None:
    """`param_opt/*` = (learning-rate factor, something of the original's that has no counterpart here)."""
    scales = layer_decay_scales([n for n, _ in model.named_parameters()], rule, decay)
    for name, pair in strip(case.tensors, "param_opt/").items():
        ours = rename(name, rules)
        if ours is None:  # fixed positions: no parameter here
            case.ignore(f"param_opt/{name}", "fixed positions are not a parameter here")
            continue
        expected = pair.clone()
        expected[0] = scales[ours]
        case.check(f"param_opt/{name}", expected)


def run_v2_image(case) -> None:
    c, t = case.config, case.tensors
    m, e, ft = c["model"], c["model"]["modalities"]["image"], c["finetune"]
    config: RunConfig = validate(
        {
            "method": "data2vec2",
            "vision": {"image_size": e["input_size"], "patch_size": e["patch_size"]},
            "model": {
                "dim": m["embed_dim"],
                "depth": m["depth"],
                "heads": m["num_heads"],
                "prenet_depth": e["prenet_depth"],
                "mlp_ratio": m["mlp_ratio"],
                "norm_eps": m["norm_eps"],
                "absolute_positions": "sincos",
                "extra_tokens": e["num_extra_tokens"],
            },
            "target": {"top_k": m["average_top_k_layers"]},
            "finetune": {
                "pooling": "mean" if ft["prediction_mode"] == "MEAN_POOLING" else "class_token",
                "head_norm": ft["use_fc_norm"],
            },
            "decoder": {"dim": 16},
        }
    )
    model = Classifier(config, build_encoder(config), ft["num_classes"]).eval()
    load(case, model, V2_CLASSIFIER, set())
    output = model.encoder(t["in/source"])
    mean = config.finetune.pooling == "mean"
    case.check("out/features", output.x if mean else torch.cat([output.extra, output.x], 1))
    logits = model(t["in/source"])
    case.check("out/logits", logits)
    case.check("out/loss_eval_per_sample", cross_entropy(logits, t["in/labels"]))
    loss = cross_entropy(logits, t["in/labels"], ft["label_smoothing"])
    case.check("out/loss_train_per_sample", loss)
    case.check("out/correct", (logits.argmax(1) == t["in/labels"]).sum())
    loss.sum().backward()
    check_gradients(model, case, V2_CLASSIFIER)
    check_factors(case, model, V2_CLASSIFIER, "data2vec2", ft["layer_decay"])


def run_beit(case) -> None:
    m, t = case.config["model"], case.tensors
    config = validate(
        {
            "method": "data2vec",
            "vision": {"image_size": m["img_size"], "patch_size": m["patch_size"]},
            "model": {
                "dim": m["embed_dim"],
                "depth": m["depth"],
                "heads": m["num_heads"],
                "mlp_ratio": m["mlp_ratio"],
                "norm": "pre",
                "norm_eps": 1e-6,
                "final_norm": True,
                "qkv_bias": "no_key",
                "layer_scale": m["init_values"],
                "relative_positions": "per_block" if m["use_rel_pos_bias"] else "shared",
                "absolute_positions": "learned" if m["use_abs_pos_emb"] else "none",
                "extra_tokens": 1,
            },
            "target": {"top_k": 1},
        }
    )
    model = Classifier(config, build_encoder(config), m["num_classes"]).eval()
    load(case, model, BEIT_CLASSIFIER, {"encoder.context.mask_token"})
    tokens = model.encoder.context(model.encoder.local(t["in/image"]))
    for i, y in enumerate(model.encoder.trunk(tokens.x, None, "end")[1]):
        case.check(f"mid/block{i}", y)
    case.check("mid/pooled_normed", model.norm(model.encoder(t["in/image"]).x.mean(1)))
    logits = model(t["in/image"])
    case.check("out/logits", logits)
    loss = cross_entropy(logits, t["in/labels"]).mean()
    case.check("out/loss", loss)
    loss.backward()
    check_gradients(model, case, BEIT_CLASSIFIER)
    check_factors(case, model, BEIT_CLASSIFIER, "beit", case.config["layer_decay"])


KINDS = {"ft_v2_image": run_v2_image, "ft_v1_vision_beit": run_beit}
