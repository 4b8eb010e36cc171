"""Text sets: preparation, vocabulary, blocks, and batches that depend on (seed, number) alone."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data2vec.data import text_preparation
from data2vec.data.corpora import sentences
from data2vec.data.loading import loader
from data2vec.data.prepare import prepare
from data2vec.data.text import TextBatches, TextBlocks, TextSet, block_slices
from data2vec.data.tokenizer import load_tokenizer
from data2vec.data.vocabulary import BOS, EOS, PAD, UNK
from data2vec.errors import UserError
from data2vec.sections import DataConfig

from .made_data import tree, write_files

WORDS = "the cat sat on a mat while some old dog ran after it over hills and far away into dark woods".split()


def drawn_views(tokens: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"tokens": tokens, "lengths": lengths, "draw": rng.random(3)}


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


@pytest.mark.parametrize("tokenizer", ["bpe", "unigram"])
def test_preparing_is_deterministic_and_does_nothing_twice(
    tokenizer: str, stories: Path, prepare_stories: Callable[..., Path]
) -> None:
    one, other = (prepare_stories(stories, where=place, tokenizer=tokenizer) for place in ("data", "again"))
    for file in sorted(p.name for p in one.iterdir()):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    before = tree(one)
    prepare_stories(stories, tokenizer=tokenizer)
    assert tree(one) == before
    assert load_tokenizer(one).fingerprint == load_tokenizer(other).fingerprint


def test_another_vocabulary_replaces_the_whole_set_and_who_used_the_old_one_is_told(
    stories: Path, prepare_stories: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = prepare_stories(stories)
    old = load_tokenizer(folder)
    prepare_stories(stories, vocab_size=70)
    assert load_tokenizer(folder).vocab_size == 70 and "held 60 ids (bpe); it is replaced" in caplog.text
    with pytest.raises(UserError, match=r"data\.vocab_size = 70, this run says 60"):
        TextSet(folder, "train", 60)
    prepare_stories(stories, tokenizer="unigram")
    new = load_tokenizer(folder)
    assert new.vocab_size == old.vocab_size and new.fingerprint != old.fingerprint
    with pytest.raises(UserError, match=r"data\.tokenizer = unigram, this run says bpe"):
        TextSet(folder, "train", 60)
    stream = TextSet(folder, "train", 60, "unigram")
    first = stream.tokens(0, int(stream.lengths[0]) - 1).tolist()
    assert new.decode(first) == next(sentences(story(0))) and "".join(map(new.piece, first)).startswith("\u2581")


def test_a_vocabulary_that_cannot_be_replaced_leaves_the_old_one(
    stories: Path, prepare_stories: Callable[..., Path]
) -> None:
    before = tree(prepare_stories(stories))
    with pytest.raises(UserError, match=r"data\.vocab_size = 5000 does not suit this text"):
        prepare_stories(stories, vocab_size=5000)
    assert tree(stories.parent / "data" / "textfolder") == before


def test_the_vocabulary_of_a_released_model_is_used_as_it_is(
    stories: Path, tmp_path: Path, prepare_stories: Callable[..., Path]
) -> None:
    numbers = {character: i for i, character in enumerate([*"abcdefghijklmnopqrstuvwxyzS.", "\u0120", "th", "the"])}
    rows = "".join(f"{number} 9\n" for number in reversed(numbers.values()))
    files = {"encoder.json": json.dumps(numbers), "vocab.bpe": "#version: 0.2\nt h\nth e\n", "dict.txt": rows}
    write_files(tmp_path / "bpe", {name: text.encode() for name, text in files.items()})
    size = len(numbers) + 5
    choose = {"tokenizer": "gpt2", "bpe_dir": str(tmp_path / "bpe")}
    with pytest.raises(UserError, match=rf"data\.vocab_size = 60, but the files in .* pass data\.vocab_size={size}"):
        prepare_stories(stories, **choose)
    folder = prepare_stories(stories, vocab_size=size, **choose)
    shutil.rmtree(tmp_path / "bpe")  # the prepared folder needs nothing else
    tokenizer, dataset = load_tokenizer(folder), TextSet(folder, "train", size, "gpt2")
    assert tokenizer.encode("the then") == [4, 6, 4, tokenizer.encode("n")[0]]
    assert set(tokenizer.encode("Zoo")) == {UNK, tokenizer.encode("o")[0]}
    text = tokenizer.decode(dataset.tokens(0, int(dataset.lengths[0])).tolist())
    assert text in next(sentences(story(0))) + "." and text.endswith(".")
    with pytest.raises(UserError, match=r"bpe/encoder\.json is missing"):
        prepare_stories(stories, vocab_size=size, **choose)


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


@pytest.mark.parametrize("tokenizer", ["bpe", "unigram"])
@pytest.mark.parametrize("size", [5000, 10])
def test_vocabularies_that_the_text_does_not_allow(
    tokenizer: str, size: int, stories: Path, prepare_stories: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match=rf"data\.vocab_size = {size} does not suit this text"):
        prepare_stories(stories, vocab_size=size, tokenizer=tokenizer)


def test_a_folder_without_splits_keeps_some_documents_apart(
    tmp_path: Path, prepare_stories: Callable[..., Path]
) -> None:
    (tmp_path / "test").mkdir()  # the name of the folder itself means nothing
    for i in range(5):
        (tmp_path / "test" / f"{i}.txt").write_text(story(i))
    manifest = json.loads((prepare_stories(tmp_path / "test") / "manifest.json").read_text())
    assert {split: entry["items"] for split, entry in manifest["splits"].items()} == {"train": 3, "valid": 1, "test": 1}


def test_blocks_follow_the_rules_of_each_mode() -> None:
    lengths = np.array([3, 4, 2, 1, 9, 3, 1, 2, 1])  # three documents; the sentence of 9 is longer than a block
    assert block_slices(lengths, "none", 8).tolist() == [[0, 8], [8, 16], [16, 24]]
    assert block_slices(lengths, "complete", 8).tolist() == [[0, 7], [7, 10], [19, 26]]
    assert block_slices(lengths, "complete_doc", 8).tolist() == [[0, 7], [7, 9], [19, 22], [23, 25]]


def test_batches_depend_on_seed_and_number_alone(stories: Path, prepare_stories: Callable[..., Path]) -> None:
    blocks = TextBlocks(TextSet(prepare_stories(stories), "train", 60), "complete_doc", 24)
    assert all(block[0] == BOS and len(block) <= 24 for block in map(blocks.block, range(len(blocks))))
    stream = TextBatches(blocks, 4, 7, drawn_views)
    late = stream[11]
    for name, value in TextBatches(blocks, 4, 7, drawn_views)[11].items():
        assert (value == late[name]).all()
    assert not (stream[12]["draw"] == late["draw"]).any()
    assert late["tokens"].shape == (4, int(late["lengths"].max()))
    with pytest.raises(UserError, match=r"gives no block of text\.tokens_per_sample = 5000"):
        TextBlocks(blocks.dataset, "none", 5000)


def test_every_epoch_visits_each_block_once_and_can_be_entered_anywhere(
    stories: Path, prepare_stories: Callable[..., Path]
) -> None:
    blocks = TextBlocks(TextSet(prepare_stories(stories), "train", 60), "none", 24)
    stream = TextBatches(blocks, 3, 7, drawn_views)
    count = len(blocks)
    rows = [tuple(row.tolist()) for step in range(count) for row in stream[step]["tokens"]]  # three epochs
    every = sorted(tuple(blocks.block(i).tolist()) for i in range(count))
    epochs = [rows[first : first + count] for first in (0, count, 2 * count)]
    assert all(sorted(epoch) == every for epoch in epochs) and epochs[0] != epochs[1] != epochs[2]
    border = count // 3
    whole = list(loader(stream, 0, border + 3, 0))
    entered = list(loader(stream, border - 2, border + 3, 1))  # across the border of epochs, in another process
    for late, again in zip(whole[border - 2 :], entered, strict=True):
        assert all((late[name] == again[name]).all() for name in late)


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
