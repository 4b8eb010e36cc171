"""Which published rows measure the same thing as one of our scores.

The first rule that fits counts; one without a data set fits any of ours, and the status then says that the two are
of different data.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One of our scores, and the published rows that belong beside it."""

    modality: str
    metric: str
    method: str  # as in results.csv
    table: str
    published_method: str
    published_metric: str
    setting: str  # the published setting starts with this
    dataset: str = ""  # ours, as in results.csv
    is_expected: bool = True  # without a run of ours its row says "not run"


VISION = {
    "data2vec2": "data2vec 2.0",
    "data2vec": "data2vec",
    "mae": "MAE",
    "simmim": "SimMIM",
    "maskfeat": "MaskFeat",
    "dino": "DINO",
}
FROZEN = {
    "data2vec2": ("data2vec 2.0", "frozen-feature"),
    "data2vec": ("data2vec", "linear evaluation"),
    "mae": ("MAE", ""),
    "dino": ("DINO", ""),
}
SPEECH = {"data2vec2": "data2vec 2.0", "data2vec": "data2vec", "wav2vec2": "wav2vec 2.0", "hubert": "HuBERT"}
# Data set of the fine-tuning -> its hours of labels in the published setting. Libri-light's subsets come first: any
# other data set is nearest to the one with least labels.
LABELS = {
    "librilight-10min": "10m",
    "librilight-1h": "1h",
    "librilight-10h": "10h",
    "librispeech-100h": "100h",
    "librispeech-960h": "960h",
}
TEXT = {"data2vec2": "data2vec 2.0", "data2vec": "data2vec", "masked_lm": "RoBERTa re-trained baseline"}
# (data set, metric) of ours -> task in the published tables, in the papers' order.
GLUE = {
    ("mnli", "accuracy"): "MNLI-m",
    ("mnli", "accuracy_mismatched"): "MNLI-mm",
    ("qnli", "accuracy"): "QNLI",
    ("rte", "accuracy"): "RTE",
    ("mrpc", "acc_and_f1"): "MRPC",
    ("qqp", "acc_and_f1"): "QQP",
    ("stsb", "pearson_and_spearman"): "STS-B",
    ("cola", "matthews"): "CoLA",
    ("sst2", "accuracy"): "SST-2",
}
GLUE_AVERAGE = ("glue", "glue_avg")
GLUE_SETTING = "GLUE dev, single-task fine-tuning"


def _vision() -> list[Rule]:
    tuned = "end-to-end fine-tuning, 224 px"
    rules = [
        Rule("vision", "finetune_top1", m, "d2v_comparison", name, "top1_acc", tuned) for m, name in VISION.items()
    ]
    rules += [
        Rule("vision", "linear_top1", m, "frozen_features", name, "top1_acc", start)
        for m, (name, start) in FROZEN.items()
    ]
    supervised = ("supervised from scratch (MAE authors)", "top1_acc", "supervised training from scratch")
    return [*rules, Rule("vision", "finetune_top1", "from scratch", "original_source_check", *supervised)]


def _speech() -> list[Rule]:
    rules = []
    for method, name in SPEECH.items():
        for dataset, hours in LABELS.items():
            found = ("d2v_test_other", name, "wer", f"{hours} labelled, 4-gram LM, test-other")
            is_expected = hours == "10h"  # the papers' ablations are of 10 h as well
            rules.append(Rule("speech", "wer_lm", method, *found, f"{dataset}/test-other", is_expected))
        greedy = ("released_checkpoints_no_lm", name, "wer", "960h labelled, no LM (greedy CTC), test-other")
        least = ("d2v_test_other", name, "wer", "10m labelled, 4-gram LM, test-other")
        rules.append(Rule("speech", "wer", method, *greedy, "librispeech-960h/test-other", is_expected=False))
        rules.append(Rule("speech", "wer_lm", method, *least, is_expected=False))
        rules.append(Rule("speech", "wer", method, *greedy, is_expected=False))
    audioset = ("audioset", "data2vec", "mAP", "fine-tuned on AudioSet-20K")
    return [*rules, Rule("speech", "map", "data2vec", *audioset, "audioset", is_expected=False)]


def _text() -> list[Rule]:
    rules = []
    for method, name in TEXT.items():
        average = ("d2v_glue_dev", name, "GLUE_avg", GLUE_SETTING)
        rules.append(Rule("text", "glue_avg", method, *average, "glue"))
        for (dataset, metric), task in GLUE.items():
            one = ("d2v_glue_dev", name, task, GLUE_SETTING, dataset)
            rules.append(Rule("text", metric, method, *one, is_expected=False))
    return rules


RULES = (*_vision(), *_speech(), *_text())
