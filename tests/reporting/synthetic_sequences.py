"""Speech and text runs as the commands leave them, made up: methods, controls, experiments that vary labels."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

SEEDS = 3
JITTER = (0.0, 0.6, -0.4)
WER = {"data2vec": 31.0, "data2vec2": 27.5, "wav2vec2": 36.0, "scratch": 71.0}
SPEECH_PROBE = {"data2vec": 78.0, "data2vec2": 83.0, "wav2vec2": 74.0, "random": 41.0, "filterbank": 62.0}
LABELS = {"25": 30.0, "100": 12.0, "400": 0.0}  # training utterances -> error rate added
GLUE = {  # published metric of each task: 1.0; 2.0, the masked language model and the controls differ by a constant
    ("mnli", "accuracy"): 64.0,
    ("mnli", "accuracy_mismatched"): 64.5,
    ("qnli", "accuracy"): 71.0,
    ("rte", "accuracy"): 55.0,
    ("mrpc", "acc_and_f1"): 76.0,
    ("qqp", "acc_and_f1"): 78.0,
    ("stsb", "pearson_and_spearman"): 42.0,
    ("cola", "matthews"): 18.0,
    ("sst2", "accuracy"): 81.0,
}
BESIDE = {"mrpc": ("accuracy", "f1"), "qqp": ("accuracy", "f1"), "stsb": ("pearson", "spearman"), "cola": ("accuracy",)}
TEXT = {"data2vec": 0.0, "data2vec2": 1.5, "masked_lm": 0.5, "scratch": -6.0, "tfidf": -9.0}
TEXT_PROBE = {"data2vec": 66.0, "data2vec2": 68.0, "masked_lm": 67.0, "random": 52.0, "tfidf": 50.0}
TOP_K = {"1": -6.0, "2": -1.0, "4": 0.0}
WORDS = [
    word.replace("_", "\u2581")
    for word in "<s> _The _teach er _av er ages _the _last _blocks . _It _sees _every _word _of _a _sentence , _the "
    "_student _only _some _of _them . </s>".split()
]


def make_sequences(root: Path, base: Any) -> None:
    """Write speech and text under root/results; `base` is the module `synthetic`."""
    results = root / "results" / "embedded"
    for seed in range(SEEDS):
        make_speech(results / "speech", seed, base)
        make_text(results / "text", seed, base)
    base.write_experiment(
        root / "experiments" / "label_amount.yaml",
        name="label_amount", title="Amount of labelled speech", base={"modality": "speech"}, values=[25, 100, 400],
        axis="finetune.train_limit", metric="wer", published="", claims=["S1-14"], note="",
    )  # fmt: skip
    base.write_experiment(root / "experiments" / "top_k.yaml", base={"modality": "all"}, values=[1, 2, 4, 6])
    base.write_experiment(
        root / "experiments" / "learning_rate.yaml",
        name="learning_rate", title="Learning rate of fine-tuning on SST-2", base={"modality": "text"},
        axis="finetune.lr", values=[0.0001, 0.0002, 0.0004], metric="accuracy", published="", claims=[], note="",
    )  # fmt: skip


def jitter(seed: int, run: str) -> float:
    return JITTER[(seed + len(run)) % SEEDS]


def row(metric: str, value: float, dataset: str) -> dict[str, Any]:
    return {"metric": metric, "value": value, "unit": "%", "dataset": dataset}


def make_speech(folder: Path, seed: int, base: Any) -> None:
    for run in WER | SPEECH_PROBE:
        noise = jitter(seed, run)
        place = folder / run / f"seed{seed}"
        if run not in ("random", "filterbank", "scratch"):
            base.write_run(place, run, "main", run, seed, modality="speech", data="espeak")
        if run in SPEECH_PROBE:
            rows = [row(name, SPEECH_PROBE[run] + noise - less, "espeak")
                    for name, less in (("linear_top1", 0), ("knn_top1", 4))]  # fmt: skip
            if run not in ("random", "filterbank"):
                rows += [kept | {"dataset": "espeak"} for kept in base.kept(rows[0]["value"])]
            base.write_json(place / "probe" / "metrics.json", {"rows": rows})
        if run in WER:
            base.write_json(place / "finetune" / "espeak-words" / "metrics.json", recognition(WER[run] + noise))
            for value, more in LABELS.items() if run != "wav2vec2" else ():
                point = place / "finetune" / f"label_amount--{value}" / "metrics.json"
                base.write_json(point, {"rows": [row("wer", min(100.0, WER[run] + more + noise), "espeak")]})
    write_top_k(folder, seed, base, "speech", "espeak", 78.0)


def recognition(wer: float) -> dict[str, Any]:
    """metrics.json of a fine-tuning for recognition."""

    def found(rate: float) -> dict[str, Any]:
        return {
            "wer": rate, "cer": rate / 2, "wer_interval": [rate - 4, rate + 4], "words": 288, "utterances": 48,
            "substitutions": 52, "deletions": 21, "insertions": 6,
            "worst": [
                {"name": "0432.flac", "edits": 3, "words": 6, "alignment": [
                    "REF: DROP THE RED BALL ** TO THREE", "HYP: DROP THE  BED BALL TO TO *****",
                    "              S         I      D"]},
            ],
            "examples": [
                {"name": "0444.flac", "reference": "BRING THE BOX TO FOUR", "hypothesis": "BRING THE BOX TO FOR"},
                {"name": "0456.flac", "reference": "MOVE THE RED KEY TO ONE", "hypothesis": ""},
            ],
        }  # fmt: skip

    rates = {"wer": wer, "cer": wer / 2, "wer_lm": wer - 5}
    return {
        "rows": [row(metric, rate, "espeak") for metric, rate in rates.items()],
        "train_utterances": 384,
        "train_seconds": 567.8,
        "test": {"test": {"greedy": found(wer), "beam_lm": found(wer - 5)}},
    }


def make_text(folder: Path, seed: int, base: Any) -> None:
    for run in TEXT | TEXT_PROBE:
        noise = jitter(seed, run)
        place = folder / run / f"seed{seed}"
        if run not in ("random", "tfidf", "scratch"):
            base.write_run(place, run, "main", run, seed, modality="text", data="pydoc")
        if run in TEXT_PROBE:
            rows = [
                row("linear_top1", TEXT_PROBE[run] + noise, "word-order"),
                row("knn_top1", 51 + noise, "word-order"),
            ]
            base.write_json(place / "probe" / "metrics.json", {"rows": rows})
        if run in TEXT:
            for task in dict.fromkeys(task for task, _ in GLUE):
                rows = [row(metric, value + TEXT[run] + noise, task) for (name, metric), value in GLUE.items()
                        if name == task]  # fmt: skip
                rows += [row(metric, rows[0]["value"] + 1, task) for metric in BESIDE.get(task, ())]
                base.write_json(place / "finetune" / task / "metrics.json", {"rows": rows})
            rows = [row("accuracy", 70 + TEXT[run] + noise, "word-order"), row("matthews", 40 + noise, "word-order")]
            base.write_json(place / "finetune" / "word-order" / "metrics.json", {"rows": rows})
        for value, more in {"0.0001": 0.0, "0.0002": 1.0, "0.0004": 0.2}.items() if run.startswith("data2vec") else ():
            point = place / "finetune" / f"learning_rate--{value}" / "metrics.json"
            base.write_json(point, {"rows": [row("accuracy", 80 + more + TEXT[run] + noise, "sst2")]})
    write_top_k(folder, seed, base, "text", "word-order", 66.0)


def write_top_k(folder: Path, seed: int, base: Any, modality: str, dataset: str, score: float) -> None:
    for value, less in TOP_K.items():
        place = folder / f"top_k--{value}" / f"seed{seed}"
        base.write_run(place, "data2vec", "top_k", value, seed, modality=modality, data="data")
        rows = [row("linear_top1", score + less + JITTER[seed], dataset)]
        base.write_json(place / "probe" / "metrics.json", {"rows": rows})


def write_speech_masked(path: Path, ratio: float, count: int = 2, frames: int = 73) -> None:
    noise = np.random.default_rng(0)
    seconds = np.arange(23487) / 16000
    waveform = (np.sin(seconds * 900) * np.sin(seconds * 6) ** 2 + 0.05 * noise.normal(size=len(seconds)))[None]
    is_masked = np.zeros((count, frames), bool)
    for mask in is_masked:
        for start in noise.permutation(frames)[: round(ratio * frames / 6)]:
            mask[start : start + 10] = True
    target = noise.gamma(4.0, 0.1, (count, frames))
    np.savez_compressed(
        path,
        waveform=np.repeat(waveform, count, axis=0).astype(np.float32),
        is_masked=is_masked,
        target_var=target.astype(np.float32),
        pred_var=(target / 2).astype(np.float32),
        error=np.where(is_masked, target / 3, np.nan).astype(np.float32),
        rate=np.array(16000),
    )


def write_text_masked(path: Path, ratio: float, count: int = 3) -> None:
    noise = np.random.default_rng(0)
    pieces = np.array([WORDS * 2] * count)
    is_masked = noise.random(pieces.shape) < ratio
    nearest = np.where(is_masked[..., None], noise.choice(WORDS[1:], (*pieces.shape, 3)), "")
    is_right = is_masked & (noise.random(pieces.shape) < 0.3)
    nearest[..., 0] = np.where(is_right, pieces, nearest[..., 0])
    error = np.where(is_masked, noise.gamma(2.0, 0.2, pieces.shape), np.nan).astype(np.float32)
    np.savez_compressed(path, pieces=pieces, is_masked=is_masked, nearest=nearest, error=error)


def batter_sequences(root: Path, base: Any) -> None:
    """Only speech and text; without a metric, a published row, a picture; a doubled seed, NaN, details cut short."""
    results = root / "results" / "embedded"
    shutil.rmtree(results / "vision")
    for place in (results / "speech", results / "text"):
        for folder in place.glob("top_k--*"):
            shutil.rmtree(folder)
    for path in (results / "text").glob("*/seed*/finetune/learning_rate--*"):
        shutil.rmtree(path)
    shutil.rmtree(results / "text" / "data2vec2" / "seed1" / "finetune" / "rte")
    shutil.copytree(results / "speech" / "data2vec2" / "seed0", results / "speech" / "data2vec2" / "seed7")
    words = results / "speech" / "data2vec" / "seed2" / "finetune" / "espeak-words" / "metrics.json"
    base.write_json(words, {"rows": [row("wer", float("nan"), "espeak")], "test": {"test": {"greedy": {"worst": 3}}}})
    for path in (results / "speech").glob("data2vec2/seed*/masked.npz"):
        path.write_text("not an archive")
    shutil.copytree(base.PUBLISHED, root / "published")
    text = root / "published" / "text.csv"
    kept = [line for line in text.read_text().splitlines() if "GLUE_avg" not in line]
    text.write_text("\n".join(kept) + "\n")
