"""Cases of wav2vec 2.0: one step with given masks, negatives and Gumbel noise."""

import torch

from data2vec.config import RunConfig, validate
from data2vec.interop.names import wav2vec2
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.methods.wav2vec2 import Wav2Vec2, contrast_logits, skip_own
from data2vec.nn.encoder import Masks
from data2vec.nn.quantiser import perplexity
from golden.kinds.pretraining import check_gradients, load_weights
from golden.kinds.speech1 import encoder_sections, padding_of, positions_seen


def run_config(m: dict, weights: list[float]) -> RunConfig:
    sections = encoder_sections(m) | {"method": "wav2vec2"}
    dim = m["final_dim"] or m["encoder_embed_dim"]
    return validate(
        sections
        | {
            "contrast": {
                "dim": dim,
                "temperature": m["logit_temp"],
                "negatives": m["num_negatives"],
                "diversity": weights[0],
                "feature_penalty": weights[1],
            },
            "quantiser": {
                "groups": m["latent_groups"],
                "entries": m["latent_vars"],
                "dim": m["latent_dim"] or dim,
                "temperature": m["latent_temp"][:2],
            },
        }
    )


def check_negatives(case, rows: int, hidden: int) -> torch.Tensor:
    """The flat indices from the draws, as the case describes them; (rows * hidden, number)."""
    t, own = case.tensors, torch.arange(hidden)[:, None]
    raw = t["in/negatives_raw"].view(rows, hidden, -1)
    groups = [skip_own(raw, own) + hidden * torch.arange(rows)[:, None, None]]
    if "in/cross_negatives_raw" in t:  # in no recipe, so that no key draws them here; the loss takes any indices
        groups.append(skip_own(t["in/cross_negatives_raw"].view(rows, hidden, -1), own))
    # one group after the other, then cut anew: with two groups a frame gets the draws that were made for another
    flat = torch.cat([g.flatten(1) for g in groups], 1)
    case.check("in/negative_indices", flat)
    return flat.view(rows * hidden, -1)


def run(case) -> None:
    t, m = case.tensors, case.config["model"]
    config = run_config(m, case.config["loss_weights"])
    method = build_method(config).train(case.config["mode"] == "train")
    assert isinstance(method, Wav2Vec2)
    rules = wav2vec2(config.model.norm == "pre")
    load_weights(method, case, rules)
    masks = Masks.from_numpy(t["in/mask"].numpy())
    batch = Batch(t["in/source"], masks, padding_of(case, config))
    rows, hidden = len(batch.inputs), int(masks.is_masked[0].sum())
    negatives = check_negatives(case, rows, hidden)
    noise = t.get("in/gumbel_exponential")
    exponential = None if noise is None else noise.view(rows * hidden, *method.quantiser.codebook.shape[:2])
    _check_stages(case, method, batch, negatives, exponential)

    output = method(batch, monitor=True, negatives=negatives, exponential=exponential)
    size, weights = output.sample_size, case.config["loss_weights"]
    case.check("out/sample_size", size)
    case.check("out/infonce_sum", output.terms["contrast"])
    for i, name in enumerate(("diversity", "penalty")):
        case.compare(name, output.terms[name], weights[i] * size * t[f"out/extra_loss{i}_unweighted"])
    case.check("out/prob_perplexity", output.monitors["soft_perplexity"])
    case.check("out/code_perplexity", output.monitors["code_perplexity"])
    case.check("out/loss", output.loss)
    method.zero_grad()
    output.loss.backward()
    check_gradients(method, case, rules)


def _check_stages(case, method: Wav2Vec2, batch: Batch, negatives, exponential) -> None:
    local, encoder, is_masked = method.encoder.local, method.encoder, batch.masks.is_masked
    rows = len(batch.inputs)
    raw = local.stack(batch.inputs)
    normed = local.norm(raw)
    case.check("mid/features_normed", normed)
    tokens, positions = positions_seen(encoder.context, local.proj(normed), batch.padding, batch.masks)
    case.check("mid/pos_conv", positions)
    x, ends = encoder.trunk(tokens.x, tokens.bias, "end")
    for i, y in enumerate(ends):
        case.check(f"mid/layer{i}", y)
    case.check("mid/encoder_output", x)
    quantised = method.quantiser(normed[is_masked], method.temperature(), exponential)
    case.check("mid/code_logits", quantised.logits.flatten(1))
    case.check("mid/quantized", quantised.vectors.view(rows, -1, quantised.vectors.shape[-1]))
    target = method.project_target(quantised.vectors)
    case.check("mid/projected_quantized", target.view(rows, -1, target.shape[-1]))
    pred = method.head(x)[is_masked]
    case.check("mid/projected_context", pred.view(rows, -1, pred.shape[-1]))
    logits = contrast_logits(pred, target, quantised.codes, negatives, method.contrast.temperature)
    case.check("out/logits", logits.view(rows, -1, logits.shape[-1]).permute(2, 0, 1))
    shares = quantised.logits.softmax(-1).mean(0)
    case.check("out/extra_loss0_unweighted", (shares.numel() - perplexity(shares)) / shares.numel())
    case.check("out/extra_loss1_unweighted", raw.square().mean())
    case.check("out/features_penalty", raw.square().mean())


KINDS = {"wav2vec2": run}
