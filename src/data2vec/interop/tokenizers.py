"""The tokenizer of a text checkpoint: found beside it or in the prepared data of its run, and as tokenizer.json.

Kept as it is here (`vocabulary.model`, or GPT-2's three files), or as Hugging Face has byte pairs (vocab.json with
merges.txt).
"""

import base64
import json
from pathlib import Path
from typing import Any

from data2vec.config import RunConfig
from data2vec.data.byte_pairs import ENCODER, MERGES, ORDER, BytePairs
from data2vec.data.tokenizer import tokenizer_beside
from data2vec.data.vocabulary import FILE, SPECIAL, WORD_START, WORDS, Tokenizer
from data2vec.errors import UserError
from data2vec.interop.huggingface_files import read_json

UNIGRAM = 1
"""SentencePiece's number of this kind of model; 2 is BPE."""
MASK = "<mask>"
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_BPE = {
    "type": "BPE",
    "dropout": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "byte_fallback": False,
    "ignore_merges": False,
}


def find_tokenizer(folder: Path, config: RunConfig) -> Tokenizer | None:
    """The tokenizer beside a checkpoint, or of the prepared data of its run; None without one.

    Raises:
        UserError: its files are damaged, or it has as many ids as the model does not.
    """
    places = (folder, Path(config.data_dir) / config.data.name)
    found = next((found for place in places if (found := _in_folder(place)) is not None), None)
    if found is not None and found.vocab_size != config.data.vocab_size:
        raise UserError(f"the vocabulary of {folder} has {found.vocab_size} ids, its model {config.data.vocab_size}")
    return found


def tokenizer_files(tokenizer: Tokenizer, max_positions: int) -> dict[str, str]:
    """tokenizer.json and its configuration, which give the same ids in transformers, between <s> and </s>."""
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    settings = names | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": MASK,
        "model_max_length": max_positions,
        "padding_side": "right",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    parts = _byte_pairs(tokenizer) if isinstance(tokenizer, BytePairs) else _sentence_pieces(tokenizer.files[FILE])
    tokens = [*enumerate(SPECIAL), (tokenizer.mask_id, MASK)]
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token, **_FLAGS} for i, token in tokens],
        "post_processor": _template(),
        **parts,
    }
    texts = {"tokenizer.json": content, "tokenizer_config.json": settings}
    return {name: json.dumps(values, indent=1, ensure_ascii=False) + "\n" for name, values in texts.items()}


def _in_folder(folder: Path) -> Tokenizer | None:
    if (found := tokenizer_beside(folder)) is not None:
        return found
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _of_huggingface(folder)
    return None


def _of_huggingface(folder: Path) -> BytePairs:
    """Byte pairs whose vocab.json has the ids of the model: special tokens first, <mask> last."""
    ids = read_json(folder / "vocab.json")
    tokens = {number: token for token, number in ids.items() if type(number) is int}
    ordered = [tokens.get(i) for i in range(len(ids))]
    if None in ordered or tuple(ordered[:WORDS]) != SPECIAL or ordered[-1] != MASK:
        raise UserError(f"{folder / 'vocab.json'} does not number its tokens from <s>, <pad>, </s>, <unk> to <mask>")
    words = ordered[WORDS:-1]
    files = {
        ENCODER: json.dumps({token: i for i, token in enumerate(words)}).encode(),
        MERGES: (folder / "merges.txt").read_bytes(),
        ORDER: "".join(f"{i} 1\n" for i in range(len(words))).encode(),
    }
    return BytePairs(files, f"{folder}/")


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


def _byte_pairs(tokenizer: BytePairs) -> dict[str, Any]:
    ids = {token: i for i, token in enumerate(SPECIAL)} | tokenizer.ids | {MASK: tokenizer.mask_id}
    merges = [[a, b] for a, b in tokenizer.ranks if a in ids and b in ids and a + b in ids]
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {**_BPE, "unk_token": "<unk>", "fuse_unk": False, "vocab": ids, "merges": merges}
    return {"normalizer": None, "pre_tokenizer": step, "decoder": step, "model": model}


def _sentence_pieces(model: bytes) -> dict[str, Any]:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)  # type: ignore[attr-defined]
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    charsmap = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    normalizers = [
        *([{"type": "Precompiled", "precompiled_charsmap": charsmap}] if charsmap else []),
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]
    step = {"type": "Metaspace", "replacement": WORD_START, "prepend_scheme": "always", "split": True}
    return {
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": step,
        "decoder": step,
        "model": _unigram(pieces) if proto.trainer_spec.model_type == UNIGRAM else _merging(pieces),
    }


def _unigram(pieces: list[tuple[str, float]]) -> dict[str, Any]:
    vocabulary: list[list[Any]] = [[piece, score] for piece, score in pieces]
    return {"type": "Unigram", "unk_id": SPECIAL.index("<unk>"), "vocab": vocabulary, "byte_fallback": False}


def _merging(pieces: list[tuple[str, float]]) -> dict[str, Any]:
    """Every way to put a piece together from two others is a merge; the best scored piece is made first."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, score in pieces[len(SPECIAL) :]:
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ids and right in ids:
                merges.append((-score, ids[left], ids[right], [left, right]))
    merges.sort(key=lambda merge: merge[:3])
    return {**_BPE, "unk_token": "<unk>", "fuse_unk": True, "vocab": ids, "merges": [pair for *_, pair in merges]}
