"""Files beside an exported model that tell transformers how images and recordings become inputs, and letters text."""

import json
from typing import Any

from data2vec.config import RunConfig


def preprocessor_files(config: RunConfig, labels: list[str], recognises: bool) -> dict[str, str]:
    """Files of a model of images or recordings, with the letters of one that `recognises` speech."""
    if config.modality == "vision":
        return {"preprocessor_config.json": _dump(_images(config))}
    if config.modality != "speech":
        return {}
    files = {"preprocessor_config.json": _dump(_recordings(config))}
    return files | (_letters(labels) if recognises and labels else {})


def _images(config: RunConfig) -> dict[str, Any]:
    v = config.vision
    return {
        "image_processor_type": "BeitImageProcessor",
        "do_resize": True,
        "size": {"height": v.image_size, "width": v.image_size},
        "resample": 3,  # bicubic
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(v.mean),
        "image_std": list(v.std),
        "do_reduce_labels": False,
    }


def _recordings(config: RunConfig) -> dict[str, Any]:
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16_000,
        "padding_side": "right",
        "padding_value": 0.0,
        "do_normalize": config.speech.normalise,
        "return_attention_mask": True,
    }


def _letters(labels: list[str]) -> dict[str, str]:
    """A vocabulary whose blank is id 0, as in training."""
    settings = {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "pad_token": labels[0],
        "bos_token": None,
        "eos_token": None,
        "unk_token": "<unk>" if "<unk>" in labels else labels[0],
        "word_delimiter_token": "|",
        "do_lower_case": False,
    }
    return {
        "vocab.json": _dump({letter: i for i, letter in enumerate(labels)}),
        "tokenizer_config.json": _dump(settings),
    }


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
