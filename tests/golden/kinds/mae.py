"""Cases of MAE: stages, loss and gradients with given noise."""

import torch

from data2vec.config import RunConfig, validate
from data2vec.interop.names import Rule
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks
from golden.kinds.pretraining import check_gradients, load_weights

NAMES: list[Rule] = [
    (r"(?:decoder_)?pos_embed", None),  # fixed tables
    (r"cls_token", r"encoder.context.extra_tokens"),
    (r"patch_embed\.(.*)", r"encoder.local.\1"),
    (r"blocks\.(.*)", r"encoder.trunk.blocks.\1"),
    (r"norm\.(.*)", r"encoder.trunk.norm.\1"),
    (r"mask_token", r"decoder.mask_token"),
    (r"decoder_embed\.(.*)", r"decoder.embed.\1"),
    (r"decoder_blocks\.(.*)", r"decoder.trunk.blocks.\1"),
    (r"decoder_norm\.(.*)", r"decoder.trunk.norm.\1"),
    (r"decoder_pred\.(.*)", r"decoder.proj.\1"),
]


def run_config(c: dict) -> RunConfig:
    m = c["model"]
    return validate(
        {
            "method": "mae",
            "vision": {"image_size": m["img_size"], "patch_size": m["patch_size"], "channels": m.get("in_chans", 3)},
            "model": {
                "dim": m["embed_dim"],
                "depth": m["depth"],
                "heads": m["num_heads"],
                "mlp_ratio": m["mlp_ratio"],
                "norm": "pre",
                "norm_eps": m["norm_eps"],
                "final_norm": True,
                "absolute_positions": "sincos",
                "extra_tokens": 1,
            },
            "mask": {"sampler": "random", "ratio": c["mask_ratio"]},
            "decoder": {
                "dim": m["decoder_embed_dim"],
                "layers": m["decoder_depth"],
                "heads": m["decoder_num_heads"],
            },
            "pixels": {"norm": m["norm_pix_loss"]},
        }
    )


def masks_of(case) -> Masks:
    """The patches of least noise stay, in the order of their noise, as the original gathers them."""
    noise = case.tensors["in/noise"]
    visible = noise.argsort(dim=1)[:, : int(noise.shape[1] * (1 - case.config["mask_ratio"]))]
    return Masks(torch.ones_like(noise, dtype=torch.bool).scatter(1, visible, False), visible)


def run(case) -> None:
    t = case.tensors
    method = build_method(run_config(case.config)).eval()
    load_weights(method, case, NAMES)
    encoder, decoder = method.encoder, method.decoder
    case.compare("positions", encoder.context.positions, t["weights/pos_embed"][:, 1:])
    case.compare("decoder positions", decoder.positions, t["weights/decoder_pos_embed"][:, 1:])
    assert not t["weights/pos_embed"][:, 0].any() and not t["weights/decoder_pos_embed"][:, 0].any()
    batch = Batch(t["in/image"], masks_of(case))
    local = encoder.local(batch.inputs)
    case.check("mid/patch_embed", local)
    tokens = encoder.context(local, None, batch.masks)
    case.check("mid/encoder_input", tokens.x)
    latent, blocks = encoder.trunk(tokens.x, None, "end")
    for i, y in enumerate(blocks):
        case.check(f"mid/block{i}", y)
    case.check("mid/latent", latent)
    inside = decoder.assemble(latent[:, 1:], batch.masks.visible, latent[:, :1])
    case.check("mid/decoder_input", inside)
    for i, y in enumerate(decoder.trunk(inside, None, "end")[1]):
        case.check(f"mid/decoder_block{i}", y)
    output = method(batch)
    case.check("out/mask", batch.masks.is_masked)
    case.check("out/patches", encoder.local.pixels(batch.inputs, norm=False))
    case.check("out/pred", output.pred)
    loss = output.loss / output.sample_size
    case.check("out/loss", loss)
    loss.backward()
    check_gradients(method, case, NAMES)


KINDS = {"mae": run}
