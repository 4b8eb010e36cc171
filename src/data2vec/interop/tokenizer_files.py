"""Files beside an exported model that tell transformers how inputs become numbers.

Images and recordings: preprocessor_config.json. Text: tokenizer.json made from the SentencePiece model. Letters of
speech recognition: vocab.json.
"""

import base64
import json
from pathlib import Path
from typing import Any

from data2vec.config import RunConfig
from data2vec.data.vocabulary import FILE

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SPACE = "\u2581"
UNIGRAM = 1
"""SentencePiece's number of this kind of model; 2 is BPE."""


def vocabulary_file(folder: Path, config: RunConfig) -> Path | None:
    """The SentencePiece model of a checkpoint: beside it, or in the prepared data of its run."""
    places = (folder / FILE, Path(config.data_dir) / config.data.name / FILE)
    return next((place for place in places if place.is_file()), None)


def preprocessor_files(config: RunConfig, labels: list[str], recognises: bool) -> dict[str, str]:
    """Files of images or recordings, with the letters of a model that `recognises` speech."""
    if config.modality == "vision":
        return {"preprocessor_config.json": _dump(_images(config))}
    if config.modality != "speech":
        return {}
    files = {"preprocessor_config.json": _dump(_recordings(config))}
    if recognises and labels:
        files |= _letters(labels)
    return files


def text_files(model: bytes, max_positions: int) -> dict[str, str]:
    """tokenizer.json and its configuration, which give the ids of the SentencePiece model, between <s> and </s>."""
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    settings = names | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
        "model_max_length": max_positions,
        "padding_side": "right",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    return {"tokenizer.json": _dump(_tokenizer(model)), "tokenizer_config.json": _dump(settings)}


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


def _tokenizer(model: bytes) -> dict[str, Any]:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)  # type: ignore[attr-defined]
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    mask = len(pieces)
    tokens = [*enumerate(SPECIAL), (mask, "<mask>")]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    charsmap = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    normalizers = [
        *([{"type": "Precompiled", "precompiled_charsmap": charsmap}] if charsmap else []),
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]
    space = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token, **flags} for i, token in tokens],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": space,
        "post_processor": _template(),
        "decoder": space,
        "model": _unigram(pieces) if proto.trainer_spec.model_type == UNIGRAM else _bpe(pieces),
    }


def _template() -> dict[str, Any]:
    def special(token: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": 0}}

    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    begin, end = special("<s>"), special("</s>")
    ids = {token: {"id": token, "ids": [SPECIAL.index(token)], "tokens": [token]} for token in ("<s>", "</s>")}
    return {
        "type": "TemplateProcessing",
        "single": [begin, first, end],
        "pair": [begin, first, end, second, end],
        "special_tokens": ids,
    }


def _unigram(pieces: list[tuple[str, float]]) -> dict[str, Any]:
    vocabulary: list[list[Any]] = [[piece, score] for piece, score in pieces]
    return {"type": "Unigram", "unk_id": SPECIAL.index("<unk>"), "vocab": vocabulary, "byte_fallback": False}


def _bpe(pieces: list[tuple[str, float]]) -> dict[str, Any]:
    """Every way to put a piece together from two others is a merge; the best scored piece is made first."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, score in pieces[len(SPECIAL) :]:
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ids and right in ids:
                merges.append((-score, ids[left], ids[right], [left, right]))
    merges.sort(key=lambda merge: merge[:3])
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<unk>",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": ids,
        "merges": [pair for *_, pair in merges],
    }


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
