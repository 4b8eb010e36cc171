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
