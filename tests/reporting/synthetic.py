"""A results folder as the commands leave it, made up: 2 methods x 3 seeds, controls, one ablation."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_sequences import batter_sequences, make_sequences, write_speech_masked, write_text_masked

SCORES = {  # linear probe, k-NN, fine-tuned: mean over seeds
    "data2vec": (90.4, 88.0, 94.1),
    "data2vec2": (92.6, 91.2, 95.0),
    "random": (86.1, 84.0, None),
    "pixels": (88.9, 87.5, None),
    "scratch": (None, None, 93.0),
}
TOP_K = {"1": 89.0, "2": 91.4, "4": 92.6, "6": 92.1}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROJECT = Path(__file__).parents[2]
PUBLISHED = PROJECT / "config" / "published"


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def row(metric: str, value: Any, unit: str = "%") -> dict[str, Any]:
    return {"metric": metric, "value": value, "unit": unit, "dataset": "digits"}


def make_results(root: Path) -> Path:
    """Write everything under root/results and root/experiments; returns root/results."""
    results = root / "results"
    vision = results / "embedded" / "vision"
    for seed in range(3):
        for method in ("data2vec", "data2vec2"):
            write_run(vision / method / f"seed{seed}", method, "main", method, seed)
            write_scores(vision / method / f"seed{seed}", method, seed)
        for control in ("random", "pixels", "scratch"):
            write_scores(vision / control / f"seed{seed}", control, seed)
        for value, linear in TOP_K.items():
            folder = vision / f"top_k--{value}" / f"seed{seed}"
            write_run(folder, "data2vec2", "top_k", value, seed)
            write_json(folder / "probe" / "metrics.json", {"rows": [row("linear_top1", linear + jitter(seed))]})
    write_experiment(root / "experiments" / "top_k.yaml")
    return results


def make_all(root: Path) -> Path:
    """All three modalities."""
    results = make_results(root)
    make_sequences(root, sys.modules[__name__])
    return results


def batter_all(root: Path) -> None:
    """Take away and break what only speech and text have."""
    batter_sequences(root, sys.modules[__name__])


def jitter(seed: int) -> float:
    return (0.0, 0.4, -0.3)[seed % 3]


def write_experiment(path: Path, **changes: Any) -> None:
    content = {
        "name": "top_k",
        "title": "How many teacher blocks to average",
        "base": {"modality": "vision", "method": "data2vec2"},
        "axis": "target.top_k",
        "values": [1, 2, 4, 6],
        "metric": "linear_top1",
        "published": "d2v1_topK_fig2",
        "claims": ["S1-19"],
        "note": "The target is the mean of the top K teacher blocks.",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**content, **changes}))


def write_run(
    folder: Path,
    method: str,
    experiment: str,
    variant: str,
    seed: int,
    modality: str = "vision",
    data: str = "digits",
) -> None:
    """A finished pre-training run."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "scale": "embedded",
        "modality": modality,
        "method": method,
        "model": {"name": "tiny"},
        "data": {"name": data},
        "experiment": experiment,
        "variant": variant,
        "seed": seed,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_json(
        folder / "provenance.json",
        {
            "commit": COMMIT,
            "dirty": False,
            "python": "3.11.9",
            "packages": {"torch": "2.11.0", "numpy": "2.4.6"},
            "hardware": {"device": "cpu", "name": "Some CPU @ 2.5 GHz", "cores": 2, "gpus": 0},
            "command": f"python -m data2vec pretrain method={method} seed={seed}",
            "seed": seed,
            "started": "2026-01-02T03:04:05+00:00",
            "finished": "2026-01-02T03:05:05+00:00",
            "pretrain_seconds": (30.0 if method == "data2vec" else 21.0) + seed,
            "peak_memory_bytes": 400 * 2**20,
            "updates": 300,
            "samples": 38400,
            "parameters": 212_000,
        },
    )
    rows = [row("loss", 0.21, ""), row("target_var", 0.9, ""), row("pred_var", 0.6, "")]
    if method.startswith("data2vec"):
        rows.append(row("position_var", 0.2 + jitter(seed) / 100, ""))
        rows += [row(f"effective_rank_{block}", 8.0 * block + jitter(seed), "") for block in (1, 2)]
    if experiment == "main":
        rows.append(row("update_flops", 3e9 if method == "data2vec" else 2e9, "FLOP"))
    write_json(folder / "metrics.json", {"rows": [found | {"dataset": data} for found in rows]})
    write_curve(folder / "metrics.jsonl", seed)
    if experiment == "main":
        write = {"speech": write_speech_masked, "text": write_text_masked}.get(modality, write_masked)
        write(folder / "masked.npz", 0.6 if method == "data2vec" else 0.8)


def write_scores(folder: Path, run: str, seed: int) -> None:
    linear, knn, tuned = SCORES[run]
    if linear is not None:
        rows = [row("linear_top1", linear + jitter(seed)), row("knn_top1", knn - jitter(seed))]
        write_json(folder / "probe" / "metrics.json", {"rows": rows})
    if tuned is not None:
        write_json(
            folder / "finetune" / "classification" / "metrics.json",
            {"rows": [row("finetune_top1", tuned + jitter(seed) / 2)]},
        )


def kept(score: float) -> list[dict[str, Any]]:
    """Probe rows of the encoders kept along a run that ends with `score`."""
    return [
        row(f"linear_top1@{updates}", score - less)
        | {"updates": updates, "samples": 128 * updates, "pretrain_seconds": cost}
        for updates, less, cost in ((0, 12.0, 0.0), (100, 6.0, 7.0), (200, 2.0, 14.0))
    ]


def write_curve(path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed)
    with path.open("w") as file:
        for update in range(0, 301, 10):
            progress = update / 300
            line = {
                "update": update,
                "samples": update * 128,
                "seconds": update * 0.07,
                "loss": 0.2 + 0.8 * np.exp(-4 * progress) + 0.02 * noise.normal(),
                "target_var": 0.5 + 0.4 * progress + 0.01 * noise.normal(),
                "pred_var": 0.05 + 0.55 * progress + 0.01 * noise.normal(),
                "lr": 1e-3,
            }
            file.write(json.dumps(line) + "\n")


def write_masked(path: Path, ratio: float, count: int = 6) -> None:
    """Eight-pixel images (scikit-learn's digits), a 4 x 4 grid of 2-pixel patches."""
    from sklearn.datasets import load_digits

    noise = np.random.default_rng(0)
    grey = (load_digits().images[:count] * 15.9).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=3)
    is_masked = np.zeros((count, 16), bool)
    for mask in is_masked:
        mask[noise.permutation(16)[: round(ratio * 16)]] = True
    is_masked = is_masked.reshape(count, 4, 4)
    error = np.where(is_masked, noise.gamma(2.0, 0.2, is_masked.shape), np.nan).astype(np.float32)
    hidden = is_masked.repeat(2, axis=1).repeat(2, axis=2)[..., None]
    reconstruction = np.where(hidden, np.roll(images, 1, axis=0), images)
    np.savez_compressed(path, images=images, is_masked=is_masked, error=error, reconstruction=reconstruction)


def batter(root: Path) -> None:
    """Take away a metric, a control, a published row and a file; double a seed; write NaN."""
    vision = root / "results" / "embedded" / "vision"
    (vision / "data2vec" / "seed1" / "probe" / "metrics.json").unlink()
    rows = {"rows": [row("finetune_top1", float("nan"))]}
    write_json(vision / "data2vec" / "seed2" / "finetune" / "classification" / "metrics.json", rows)
    shutil.copytree(vision / "data2vec2" / "seed0", vision / "data2vec2" / "seed7")
    (vision / "top_k--4" / "seed2" / "probe" / "metrics.json").unlink()
    write_json(vision / "top_k--2" / "seed1" / "probe" / "metrics.json", {"rows": [row("linear_top1", float("nan"))]})
    shutil.rmtree(vision / "pixels")
    with (vision / "data2vec" / "seed0" / "metrics.jsonl").open("a") as file:
        file.write('{"update": 290, "loss": 0.2}\n{"update": 31')  # resumed once, then killed within a line
    shutil.copytree(PUBLISHED, root / "published")
    path = root / "published" / "vision.csv"
    lost = "d2v_comparison,vision,data2vec 2.0"
    kept = [line for line in path.read_text().splitlines() if not line.startswith(lost)]
    path.write_text("\n".join(kept) + "\n")
    path = root / "published" / "ablations.csv"
    lines = path.read_text().splitlines()
    kept_lines = [line for line in lines if not (line.startswith("d2v1_topK_fig2,vision") and "K=1 teacher" in line)]
    path.write_text("\n".join(kept_lines) + "\n")
    (root / "published" / "efficiency.csv").unlink()
    write_experiment(root / "experiments" / "later.yaml", name="later", title="For later")
    write_experiment(root / "experiments" / "top_k.yaml", values=[1, 2, 4, 6, 8])
    (root / "experiments" / "broken.yaml").write_text("a: [")
