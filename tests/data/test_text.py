"""Text sets: preparation, vocabulary, blocks, and batches that depend on (seed, number) alone."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data2vec.config import DataConfig
from data2vec.data import text_preparation
from data2vec.data.corpora import held_out, sentences
from data2vec.data.prepare import prepare
from data2vec.data.text import TextBatches, TextBlocks, TextSet, block_slices
from data2vec.data.tokenizer import load_tokenizer
from data2vec.data.vocabulary import BOS, EOS, PAD, UNK
from data2vec.errors import UserError

WORDS = "the cat sat on a mat while some old dog ran after it over hills and far away into dark woods".split()


def story(seed: int, count: int = 40) -> str:
    rng = np.random.default_rng(seed)
    made = [" ".join(rng.choice(WORDS, rng.integers(3, 9))).capitalize() + "." for _ in range(count)]
    return "\n\n".join(" ".join(made[i : i + 4]) for i in range(0, count, 4))


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    for split, number in (("train", 3), ("valid", 1)):
        (tmp_path / "stories" / split).mkdir(parents=True)
        for i in range(number):
            (tmp_path / "stories" / split / f"{i}.txt").write_text(story(i), encoding="utf-8")
    return tmp_path / "stories"


@pytest.fixture
def prepare_stories(tmp_path: Path) -> Callable[..., Path]:
    def run(path: Path, vocab_size: int = 60, where: str = "data", **keys: str) -> Path:
        choice = DataConfig(name="textfolder", path=str(path), vocab_size=vocab_size, **keys)
        return prepare(choice, tmp_path / where).parent

    return run


def test_a_folder_becomes_ids_that_decode_to_its_sentences(stories: Path, prepare_stories: Callable[..., Path]) -> None:
    folder = prepare_stories(stories)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["modality"] == "text" and manifest["vocab_size"] == 60 and manifest["source"] == "folder"
    assert manifest["splits"]["train"]["items"] == 3 and manifest["splits"]["train"]["sentences"] == 120
    assert {entry["file"] for entry in manifest["files"]} >= {"vocabulary.model", "train_tokens_000.npy"}
    dataset, tokenizer = TextSet(folder, "train", 60), load_tokenizer(folder)
    assert tokenizer.vocab_size == 60 and [tokenizer.piece(i) for i in (BOS, PAD, EOS, UNK, 59)] == [
        *("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    ]
    stream = dataset.tokens(0, int(dataset.starts[-1]))
    assert len(stream) == manifest["splits"]["train"]["tokens"] == dataset.lengths.sum()
    assert (stream[np.cumsum(dataset.lengths) - 1] == EOS).all() and (dataset.lengths == 1).sum() == 3
    first = stream[: dataset.lengths[0] - 1].tolist()
    assert tokenizer.decode([BOS, *first, EOS, 59]) == next(sentences(story(0)))


def test_preparing_is_deterministic_and_does_nothing_twice(stories: Path, prepare_stories: Callable[..., Path]) -> None:
    one, other = prepare_stories(stories), prepare_stories(stories, where="again")
    for file in sorted(p.name for p in one.iterdir()):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    before = (one / "vocabulary.model").stat()
    prepare_stories(stories)
    assert (one / "vocabulary.model").stat().st_mtime_ns == before.st_mtime_ns
    prepare_stories(stories, vocab_size=70)
    assert load_tokenizer(one).vocab_size == 70
    with pytest.raises(UserError, match=r"data\.vocab_size = 70, this run says 60"):
        TextSet(one, "train", 60)


def test_shards_make_one_stream(
    stories: Path, prepare_stories: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TextSet(prepare_stories(stories), "train", 60)
    monkeypatch.setattr(text_preparation, "SHARD_TOKENS", 100)
    parts = TextSet(prepare_stories(stories, where="sharded"), "train", 60)
    assert len(parts.shards) == 3 and (parts.lengths == whole.lengths).all()
    end = int(whole.starts[-1])
    for start, stop in ((0, end), (10, 20), (int(parts.starts[1]) - 3, int(parts.starts[2]) + 5)):
        assert (parts.tokens(start, stop) == whole.tokens(start, stop)).all()


def test_text_that_is_not_utf8_and_vocabularies_that_do_not_fit(
    stories: Path, prepare_stories: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match=r"data\.vocab_size = 5000 does not suit this text"):
        prepare_stories(stories, vocab_size=5000)
    with pytest.raises(UserError, match=r"data\.vocab_size = 10 does not suit this text"):
        prepare_stories(stories, vocab_size=10)
    (stories / "train" / "bad.txt").write_bytes("Grüße".encode("latin1"))
    with pytest.raises(UserError, match=r"bad\.txt .* line 1: not UTF-8 text \(byte 2\)"):
        prepare_stories(stories)


def test_a_folder_without_splits_keeps_some_documents_apart(
    tmp_path: Path, prepare_stories: Callable[..., Path]
) -> None:
    (tmp_path / "test").mkdir()  # the name of the folder itself means nothing
    for i in range(5):
        (tmp_path / "test" / f"{i}.txt").write_text(story(i))
    manifest = json.loads((prepare_stories(tmp_path / "test") / "manifest.json").read_text())
    assert {split: entry["items"] for split, entry in manifest["splits"].items()} == {"train": 3, "valid": 1, "test": 1}
    assert set(held_out(["a", "b"]).values()) == {"train"}


def test_sentences_end_where_they_should() -> None:
    text = 'Mr. smith said, "Is it so?" He was\nright. "Yes!" they cried.\n\nCHAPTER II\n\n'
    text += "  It rained (a lot).  Then 3.5 km."
    assert list(sentences(text)) == [
        *('Mr. smith said, "Is it so?"', "He was right.", '"Yes!" they cried.', "CHAPTER II"),
        *("It rained (a lot).", "Then 3.5 km."),
    ]


def test_blocks_follow_the_rules_of_each_mode() -> None:
    lengths = np.array([3, 4, 2, 1, 9, 3, 1, 2, 1])  # three documents; the sentence of 9 is longer than a block
    assert block_slices(lengths, "none", 8).tolist() == [[0, 8], [8, 16], [16, 24]]
    assert block_slices(lengths, "complete", 8).tolist() == [[0, 7], [7, 10], [19, 26]]
    assert block_slices(lengths, "complete_doc", 8).tolist() == [[0, 7], [7, 9], [19, 22], [23, 25]]


def test_batches_depend_on_seed_and_number_alone(stories: Path, prepare_stories: Callable[..., Path]) -> None:
    blocks = TextBlocks(TextSet(prepare_stories(stories), "train", 60), "complete_doc", 24)
    assert all(block[0] == BOS and len(block) <= 24 for block in map(blocks.block, range(len(blocks))))

    def views(tokens: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"tokens": tokens, "lengths": lengths, "draw": rng.random(3)}

    stream = TextBatches(blocks, 4, 7, views)
    late = stream[11]
    for name, value in TextBatches(blocks, 4, 7, views)[11].items():
        assert (value == late[name]).all()
    assert not (stream[12]["draw"] == late["draw"]).any()
    assert late["tokens"].shape == (4, int(late["lengths"].max()))
    with pytest.raises(UserError, match=r"gives no block of text\.tokens_per_sample = 5000"):
        TextBlocks(blocks.dataset, "none", 5000)


@pytest.mark.slow
def test_pythons_own_documentation_needs_no_download(tmp_path: Path) -> None:
    choice = DataConfig(name="pydoc", path=None, vocab_size=2048)
    manifest = json.loads(prepare(choice, tmp_path, offline=True).read_text())
    assert manifest["source"] == "embedded" and f"Python {sys.version.split()[0]}" in manifest["note"]
    assert manifest["splits"]["train"]["tokens"] > 300_000


@pytest.mark.slow
def test_the_mirrors_novels_and_articles(real_mirror: Path, tmp_path: Path) -> None:
    if not (real_mirror / "wikitext-2").is_dir():
        pytest.skip("the mirror holds no text")
    choice = DataConfig(name="wikitext-2", path=None, vocab_size=4096)
    folder = prepare(choice, tmp_path, mirror=real_mirror).parent
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["splits"]["valid"]["items"] == 60 and "learned from valid" in manifest["note"]
    with pytest.raises(UserError, match="no split 'train', only"):
        TextSet(folder, "train", 4096)
