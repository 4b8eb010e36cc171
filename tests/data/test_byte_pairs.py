"""GPT-2's byte pairs: equal to transformers' tokenizers on any text, and fairseq's order of ids."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data2vec.data.byte_pairs import ENCODER, MERGES, ORDER, BytePairs
from data2vec.errors import UserError

TEXTS = (
    "Hello world, it's 2,026: don't panic!  Two  spaces\tand\ttabs\n\nnew lines \n end ",
    "naïve café Grüße \u2013 “quoted” … ½ ²³ ٣٤ 你好世界 नमस्ते",
    "👍🏽 emoji 👩‍👩‍👧‍👦 flags 🇫🇷",
    "don\u2019t I'LL we'll'll x'd  ' s",
    "\u00a0no-break \u3000 wide \x85 next line \u2028 zero\u200bwidth \x1c",
    "<mask> and </s> are text",
    "",
    " ",
    "   leading",
    "a" * 300,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up files of a released model, with merges learned from a few sentences by another library."""
    from tokenizers import ByteLevelBPETokenizer

    path = tmp_path_factory.mktemp("bpe")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([*TEXTS * 3, "the cat sat on the mat and the dog said hello"] * 4, vocab_size=420)
    trained.save_model(str(path))
    (path / "vocab.json").rename(path / ENCODER)
    (path / "merges.txt").rename(path / MERGES)
    numbers = sorted(json.loads((path / ENCODER).read_text()).values(), key=lambda n: (n * 7919) % 421)
    rows = [f"{number} {1000 - i}" for i, number in enumerate(numbers)] + ["madeupword0000 0", "madeupword0001 0"]
    (path / ORDER).write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def ours(folder: Path) -> BytePairs:
    return BytePairs.load(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path, ours: BytePairs) -> object:
    """RoBERTa's tokenizer with ids in fairseq's order; it knows no special token that a text could hold."""
    from transformers import RobertaTokenizer

    merges = [tuple(line.split(" ")) for line in (folder / MERGES).read_text().splitlines()[1:]]
    ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3} | ours.ids | {"<mask>": ours.mask_id}
    return RobertaTokenizer(vocab=ids, merges=merges)


def test_ids_follow_the_rows_of_the_dictionary(ours: BytePairs, folder: Path) -> None:
    rows = (folder / ORDER).read_text().splitlines()
    encoder = json.loads((folder / ENCODER).read_text())
    assert ours.vocab_size == 4 + len(rows) + 1 and ours.mask_id == ours.vocab_size - 1
    for symbol, number in encoder.items():
        assert ours.ids[symbol] == 4 + [row.split()[0] for row in rows].index(str(number))
    assert [ours.piece(i) for i in (0, 1, 2, 3, ours.mask_id)] == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert ours.piece(ours.mask_id - 1) == "madeupword0001" and ours.decode([ours.mask_id - 1, 0, 2]) == ""
    assert [ours.piece(i) for i in ours.encode("the cat")][1].startswith("\u2581c")


@pytest.mark.parametrize("text", TEXTS)
def test_gpt2_of_transformers_gives_the_same_pieces(text: str, ours: BytePairs, folder: Path) -> None:
    from transformers import GPT2Tokenizer

    merges = [tuple(line.split(" ")) for line in (folder / MERGES).read_text().splitlines()[1:]]
    gpt2 = GPT2Tokenizer(vocab=json.loads((folder / ENCODER).read_text()), merges=merges)
    numbers = gpt2.encode(text, add_special_tokens=False)
    rows = [row.split()[0] for row in (folder / ORDER).read_text().splitlines()]
    assert ours.encode(text) == [4 + rows.index(str(number)) for number in numbers]
    assert ours.decode(ours.encode(text)) == text


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_roberta_of_transformers_gives_the_same_ids_on_any_text(text: str, ours: BytePairs, theirs: object) -> None:
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)  # type: ignore[attr-defined]
    assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (ENCODER, b'{"a": 1,\n "b": }', r"encoder\.json, line 2: not valid JSON"),
        (ENCODER, b"[1, 2]", r"encoder\.json: must map pieces to whole numbers"),
        (ENCODER, b"\xff", r"encoder\.json is not UTF-8 text \(byte 0\)"),
        (MERGES, b"#version: 0.2\na b\na b c\n", r"vocab\.bpe, line 3: 'a b c' is not two pieces"),
        (ORDER, b"1 10\n2\n", r"dict\.txt, line 2: '2' is not a token, a space and its count"),
        (ORDER, b"1 10\n1 9\n", r"dict\.txt, line 2: '1' stands in line 1 already"),
    ],
)
def test_a_broken_file_is_named_with_its_line(file: str, content: bytes, said: str, ours: BytePairs) -> None:
    with pytest.raises(UserError, match=said):
        BytePairs({**ours.files, file: content})


def test_a_missing_file_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ENCODER).write_bytes((folder / ENCODER).read_bytes())
    with pytest.raises(UserError, match=r"vocab\.bpe is missing: byte-level BPE needs encoder\.json, vocab\.bpe"):
        BytePairs.load(tmp_path)
