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
METRICS = {
    "linear_top1": "linear probe",
    "knn_top1": "nearest neighbours",
    "finetune_top1": "fine-tuned",
    "loss": "training loss",
    "target_var": "variance of the targets",
    "pred_var": "variance of the predictions",
}
# Probes first: they are the cheapest to repeat and the ones with two controls.
METRIC_ORDER = ("linear_top1", "knn_top1", "finetune_top1")
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
    """Whether a metric tells how good the features are (not how training went)."""
    return not metric.endswith(("loss", "_var"))


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of `metric` is the better one (error rates, losses)."""
    return any(metric == name or metric.endswith(f"_{name}") for name in LOWER_IS_BETTER)


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
