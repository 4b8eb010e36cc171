"""The training step on the configurations that the original was timed on (docs/performance.md).

    PYTHONPATH=src python benchmarks/train_step.py [name ...]

Prints a table: milliseconds of a step in float32 and bf16, and the original's time on the same kind of machine.
Two threads, one random batch in memory, no dropout, no clipping. Run it on an idle machine.
"""

import logging
import sys

from data2vec.config import RunConfig, validate
from data2vec.training.benchmark import benchmark

ENCODER = {"dim": 192, "heads": 3, "depth": 6, "mlp_ratio": 4.0}
IMAGES = {"image_size": 32, "patch_size": 4}

# name: (configuration, the original's median in float32 on 2 virtual cores, ms)
CASES: dict[str, tuple[dict, int]] = {
    "v2_image": (
        {
            "method": "data2vec2",
            "vision": IMAGES,
            "model": ENCODER | {"norm_eps": 1e-6, "absolute_positions": "sincos", "extra_tokens": 1},
            "mask": {"sampler": "inverse_block", "ratio": 0.8, "adjust": 0.07, "length": 3, "clones": 4},
            "target": {"top_k": 6, "norm_layer": ["instance"], "norm_average": ["layer"]},
            "decoder": {"dim": 192, "layers": 6, "kernel": 3, "groups": 16},
            "loss": {"cls": 0.01, "cls_rows": None},
            "train": {"batch_size": 32},
        },
        403,
    ),
    "v1_image": (
        {
            "method": "data2vec",
            "vision": IMAGES,
            "model": ENCODER
            | {"norm": "pre", "final_norm": True, "layer_scale": 1e-4, "qkv_bias": "no_key", "extra_tokens": 1}
            | {"relative_positions": "shared"},
            "mask": {"sampler": "beit_block", "num_patches": 39, "min_block": 4, "max_block": 64, "ratio": 0.6},
            "target": {"top_k": 6, "feature": "end", "norm_layer": [], "norm_average": ["layer"]},
            "teacher": {"scope": "trunk"},
            "loss": {"beta": 2.0},
            "train": {"batch_size": 32},
        },
        296,
    ),
}
CASES["v1_image_batch128"] = (CASES["v1_image"][0] | {"train": {"batch_size": 128}}, 1169)

STACK = [(10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2]


def speech(method: str, channels: int, recordings: int) -> dict:
    """4 s recordings of 16 kHz, 199 frames."""
    values: dict = {
        "modality": "speech",
        "method": method,
        "speech": {
            "conv_layers": [(channels, kernel, stride) for kernel, stride in STACK],
            "max_seconds": 4.0,
            "batch_seconds": 4.0 * recordings,
        },
        "model": dict(ENCODER),
        "target": {"top_k": 6, "norm_layer": ["instance"], "norm_average": []},
        "teacher": {"scope": "context"},
        "train": {},
    }
    if method == "data2vec2":
        values["model"] |= {"alibi": "1d"}
        values["mask"] = {"sampler": "span", "ratio": 0.5, "length": 5, "clones": 4}
        values["decoder"] = {"dim": 192, "layers": 4, "kernel": 7, "groups": 16}
    else:
        values["mask"] = {"sampler": "span", "ratio": 0.65, "length": 10}
        values["teacher"] |= {"copied": ["context.pos_conv.*"]}
    return values


def text(method: str, sentences: int) -> dict:
    """Blocks of 128 tokens out of 10 000 words, 4 specials and the mask."""
    values: dict = {
        "modality": "text",
        "method": method,
        "data": {"vocab_size": 10_005},
        "text": {"tokens_per_sample": 128, "embedding_dropout": 0.0},
        "model": ENCODER | {"absolute_positions": "learned"},
        "train": {"batch_size": sentences},
    }
    if method == "data2vec2":
        values["mask"] = {"sampler": "random", "ratio": 0.48, "length": 1, "clones": 4}
        values["target"] = {"top_k": 6, "norm_layer": ["instance"], "norm_average": []}
        values["teacher"] = {"scope": "trunk"}
        decoder = {"dim": 192, "layers": 5, "kernel": 9, "groups": 1, "residual": False, "projection_layers": 2}
        values |= {"decoder": decoder, "loss": {"scale": 1.0}}
    else:
        values["model"] |= {"head_layers": 2}
        values["mask"] = {"sampler": "tokens", "ratio": 0.3, "length": 1}
        values["target"] = {"top_k": 6, "norm_layer": ["layer"], "norm_average": []}
        values["teacher"] = {"scope": "encoder", "copied": ["local.*"]}
        values["loss"] = {"beta": 4.0, "scale": 1.0}
    return values


CASES |= {
    "v2_audio": (speech("data2vec2", 512, 4), 2557),
    "v1_audio": (speech("data2vec", 512, 4), 2345),
    "v2_audio_conv192": (speech("data2vec2", 192, 4), 809),
    "v1_audio_conv192": (speech("data2vec", 192, 4), 598),
    "v1_audio_batch16": (speech("data2vec", 512, 16), 10538),
    "v2_text": (text("data2vec2", 16), 812),
    "v1_text": (text("data2vec", 16), 329),
    "v1_text_batch64": (text("data2vec", 64), 1248),
}


def configure(values: dict, precision: str) -> RunConfig:
    """The case in one precision."""
    train = values["train"] | {"threads": 2, "precision": precision, "device": "cpu"}
    return validate(values | {"train": train})


def main(names: list[str]) -> None:
    """Measure the named cases, or all."""
    logging.disable(logging.INFO)
    header = ("case", "original fp32, ms", "fp32, ms", "bf16, ms", "original / fp32", "original / bf16", "peak, GiB")
    sys.stdout.write("| " + " | ".join(header) + " |\n|" + "---|" * len(header) + "\n")
    for name in names or CASES:
        values, original = CASES[name]
        results = [benchmark(configure(values, precision)) for precision in ("fp32", "bf16")]
        fp32, bf16 = (r["median_ms"] for r in results)
        peak = results[-1]["peak_memory_bytes"] / 2**30
        cells = (name, original, f"{fp32:.0f}", f"{bf16:.0f}", f"{original / fp32:.2f}", f"{original / bf16:.2f}")
        sys.stdout.write("| " + " | ".join(map(str, cells)) + f" | {peak:.2f} |\n")


if __name__ == "__main__":
    main(sys.argv[1:])
