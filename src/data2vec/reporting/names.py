"""How methods, metrics and numbers are called and written in every table and figure."""

import math

METHODS = {
    "data2vec2": "data2vec 2.0",
    "data2vec": "data2vec 1.0",
    "mae": "MAE",
    "simmim": "SimMIM",
    "maskfeat": "MaskFeat",
    "byol": "BYOL",
    "dino": "DINO",
    "masked_lm": "masked LM",
    "wav2vec2": "wav2vec 2.0",
    "hubert": "HuBERT",
}
# Folder of a control run -> what results.csv calls it.
CONTROLS = {
    "random": "random weights",
    "pixels": "raw pixels",
    "filterbank": "mel filterbank",
    "tfidf": "TF-IDF",
    "scratch": "from scratch",
}
MODALITIES = {"vision": "Images", "speech": "Speech", "text": "Text"}
METRICS = {
    "linear_top1": "linear probe",
    "knn_top1": "nearest neighbours",
    "linear_top1_valid": "linear probe, held-out training samples",
    "finetune_top1": "fine-tuned",
    "wer": "word error rate",
    "wer_lm": "word error rate with LM",
    "cer": "letter error rate",
    "map": "mean average precision",
    "accuracy_mismatched": "accuracy, mismatched",
    "matthews": "Matthews correlation",
    "f1": "F1",
    "acc_and_f1": "mean of accuracy and F1",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "pearson_and_spearman": "mean of Pearson and Spearman",
    "glue_avg": "GLUE average",
    "loss": "training loss",
    "target_var": "variance of the targets",
    "pred_var": "variance of the predictions",
    "position_var": "variance of the targets by position alone",
}
# Probes first: they are the cheapest to repeat and the ones with two controls.
METRIC_ORDER = ("linear_top1", "knn_top1", "finetune_top1", "glue_avg", "wer", "wer_lm", "cer", "accuracy", "map")
# What is left to results.csv where the score that the papers print stands beside it.
SECONDARY = {
    "wer": ("cer",),
    "acc_and_f1": ("accuracy", "f1"),
    "pearson_and_spearman": ("pearson", "spearman"),
}
# What stands for the raw input of a modality among the controls of a probe.
RAW_INPUT = {"vision": "raw pixels", "speech": "mel filterbank", "text": "TF-IDF"}
LOWER_IS_BETTER = ("wer", "per", "cer", "loss")


def method_label(method: str) -> str:
    """The name a reader knows: "data2vec 2.0" for "data2vec2"."""
    return METHODS.get(method, method)


def metric_label(metric: str) -> str:
    """Words for a metric's key; an unknown key is only spelt with spaces."""
    return METRICS.get(metric, metric.replace("_", " "))


def with_unit(label: str, unit: str) -> str:
    """`label (unit)`, or the label alone for a number without a unit."""
    return f"{label} ({unit})" if unit else label


def is_control(method: str) -> bool:
    """Whether results.csv's `method` is one of the controls."""
    return method in CONTROLS.values()


def is_score(metric: str) -> bool:
    """Whether a metric tells how good the features are at the end (not how training went, nor a score on the way)."""
    training = ("loss", "_var", "_valid", "_flops", "_seconds")
    return not metric.endswith(training) and "@" not in metric and not metric.startswith("effective_rank")


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of `metric` is the better one (error rates, losses)."""
    return not set(LOWER_IS_BETTER).isdisjoint(metric.split("_"))


def modality_label(modality: str) -> str:
    """The heading of a modality: "Images" for "vision"."""
    return MODALITIES.get(modality, modality)


def modality_rank(modality: str) -> tuple[int, str]:
    """Sort key: images, speech, text, then others by name."""
    known = list(MODALITIES)
    return known.index(modality) if modality in known else len(known), modality


def leading_metrics(dataset: str, metrics: set[str]) -> set[str]:
    """Of the metrics that one data set has, those that stand in tables and figures; all are in results.csv.

    Published for CoLA is the correlation, for MRPC, QQP and STS-B the mean of two scores.
    """
    left_out = {second for first in metrics for second in SECONDARY.get(first, ())}
    if {"matthews", "accuracy"} <= metrics:
        left_out.add("accuracy" if dataset == "cola" else "matthews")
    return metrics - left_out


def controls_of(modality: str, metric: str) -> tuple[str, ...]:
    """Which controls belong to a score, so that an absent one can be named."""
    if metric in ("linear_top1", "knn_top1"):
        return "random weights", RAW_INPUT.get(modality, "raw pixels")
    if not is_score(metric):
        return ()
    return ("from scratch", "TF-IDF") if modality == "text" else ("from scratch",)


def metric_rank(metric: str) -> tuple[int, str]:
    """Sort key: known scores in their fixed order, others after them by name."""
    known = METRIC_ORDER.index(metric) if metric in METRIC_ORDER else len(METRIC_ORDER)
    return known, metric


def method_rank(method: str) -> tuple[int, str]:
    """Sort key: 2.0, 1.0, other methods by name, then the controls."""
    known = [*METHODS, "", *CONTROLS.values()]
    return known.index(method) if method in known else known.index(""), method


def fmt(value: float, unit: str = "", signed: bool = False) -> str:
    """`value` as text: one decimal for per cent, three significant digits otherwise, "" for NaN."""
    if value is None or not math.isfinite(value):
        return ""
    sign = "+" if signed else ""
    if unit in ("%", "points"):
        return f"{value:{sign}.1f}"
    if value == 0 or 0.01 <= abs(value) < 1000:
        digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
        return f"{value:{sign}.{digits}f}"
    return f"{value:{sign}.0f}" if abs(value) >= 1000 else f"{value:{sign}.2e}"


def duration(seconds: float) -> str:
    """Seconds in words a reader can take in: "41 s", "12 min", "3.2 h", "" for NaN."""
    if not math.isfinite(seconds):
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def join(words: list[str]) -> str:
    """Words as a list in prose: one, two with "and", more with commas."""
    return words[0] if len(words) == 1 else " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def count(number_of: int, noun: str) -> str:
    """A number with its noun: "1 seed", "3 seeds"."""
    return f"{number_of} {noun}" if number_of == 1 else f"{number_of} {noun}s"
