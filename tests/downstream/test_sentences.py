"""Fine-tuning on sentences from the command line, its control of word counts, probes and predictions."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data2vec.cli import main
from data2vec.data.sentence_batches import SentenceBatches, cut, encode_set, evaluation_batches
from data2vec.data.sentence_sets import SentenceSet
from data2vec.data.tokenizer import load_tokenizer
from data2vec.data.vocabulary import BOS, EOS, PAD
from data2vec.downstream.sentence_metrics import metric_names, score_sentences

FEW = "the cat sat on a mat while some old dog ran after it over hills and far away".split()
SHORT = {
    **{"modality": "text", "model": "tiny", "data": "textfolder", "data.vocab_size": "60", "model.dim": "16"},
    **{"text.tokens_per_sample": "24", "text.max_positions": "48", "model.depth": "2", "target.top_k": "2"},
    **{"decoder.dim": "16", "mask.ratio": "0.4", "train.updates": "2", "optim.warmup_updates": "1"},
    **{"train.batch_size": "4", "train.workers": "0", "train.threads": "1", "train.precision": "fp32"},
}
FINETUNE = ["finetune.updates=6", "finetune.warmup_updates=1", "finetune.batch_size=8", "train.log_every=2"]


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(FEW, rng.integers(3, 9))).capitalize() + "."


def rows(kind: str, count: int, is_test: bool = False) -> bytes:
    """A table of `cola` or `stsb` as GLUE writes them."""
    rng = np.random.default_rng(count)
    lines = []
    for i in range(count):
        label, one, two = str(i % 2), sentence(rng), sentence(rng)
        if kind == "cola":
            lines.append(f"{i}\t{one}" if is_test else f"x\t{label}\t\t{one}")
        else:
            lines.append("\t".join([str(i), one, two, *([] if is_test else [f"{5 * rng.random():.3f}"])]))
    head = {"cola": "index\tsentence" if is_test else "", "stsb": "index\tsentence1\tsentence2"}[kind]
    head += "\tscore" if kind == "stsb" and not is_test else ""
    return "\n".join([*([head] if head else []), *lines, ""]).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared text, two tasks, and a pre-trained run in `run`."""
    root = tmp_path_factory.mktemp("sentences")
    (root / "texts" / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    (root / "texts" / "train" / "a.txt").write_text("\n\n".join(sentence(rng) for _ in range(200)))
    words = ["data=textfolder", f"data.path={root / 'texts'}", "data.vocab_size=60", f"data_dir={root}"]
    assert main(["prepare", *words]) == 0
    for name, folder in (("cola", "CoLA"), ("stsb", "STS-B")):
        (root / folder).mkdir()
        for file, count in (("train", 40), ("dev", 12), ("test", 7)):
            (root / folder / f"{file}.tsv").write_bytes(rows(name, count, file == "test"))
        assert main(["prepare", f"data={name}", f"data.path={root / folder}", f"data_dir={root}"]) == 0
    options = [f"{key}={value}" for key, value in SHORT.items()]
    assert main(["pretrain", *options, f"data_dir={root}", f"run_dir={root / 'run'}"]) == 0
    return root


def finetune(place: Path, run_dir: Path, task: str, *words: str) -> int:
    return main(["finetune", f"init_run={place / 'run'}", f"task={task}", f"run_dir={run_dir}", *FINETUNE, *words])


def result(run_dir: Path) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in json.loads((run_dir / "metrics.json").read_text())["rows"]}


def test_classes_are_learned_scored_and_predicted(place: Path, tmp_path: Path) -> None:
    assert finetune(place, tmp_path, "cola") == 0
    assert set(result(tmp_path)) == {"matthews", "accuracy"}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["rows"][0]["dataset"] == "cola" and metrics["train_rows"] == 40 and metrics["rows_valid"] == 12
    assert np.trace(metrics["confusion"]) / 12 * 100 == pytest.approx(result(tmp_path)["accuracy"])
    lines = (tmp_path / "predictions" / "CoLA.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and [line.split("\t")[0] for line in lines[1:]] == [*map(str, range(7))]
    assert {line.split("\t")[1] for line in lines[1:]} <= {"0", "1"}


def test_scores_are_learned_and_predicted_in_their_range(place: Path, tmp_path: Path) -> None:
    assert finetune(place, tmp_path, "stsb") == 0
    values = result(tmp_path)
    assert values["pearson_and_spearman"] == pytest.approx((values["pearson"] + values["spearman"]) / 2)
    lines = (tmp_path / "predictions" / "STS-B.tsv").read_text().splitlines()[1:]
    assert len(lines) == 7 and all(0 <= float(line.split("\t")[1]) <= 5 for line in lines)


def test_stopping_at_every_update_changes_nothing(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data2vec.training.optim import Adam

    assert finetune(place, tmp_path / "whole", "cola") == 0
    step = Adam.step

    def stop_after(self: Adam, *arguments: object) -> object:
        done = step(self, *arguments)
        os.kill(os.getpid(), signal.SIGUSR1)
        return done

    monkeypatch.setattr(Adam, "step", stop_after)
    codes = [finetune(place, tmp_path / "parts", "cola") for _ in range(6)]
    assert codes == [143] * 5 + [0]
    whole, parts = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert result(tmp_path / "whole") == result(tmp_path / "parts")


def test_an_earlier_fine_tuning_can_be_the_start(place: Path, tmp_path: Path) -> None:
    assert finetune(place, tmp_path / "first", "stsb") == 0
    quiet = ["finetune.lr=1e-30", "finetune.weight_decay=0", "finetune.updates=1"]
    assert finetune(place, tmp_path / "next", "cola", f"finetune.start_from={tmp_path / 'first'}", *quiet) == 0
    first, second = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("first", "next"))
    encoder = [name for name in first if name.startswith("encoder.")]
    assert encoder and all(torch.equal(first[name], second[name]) for name in encoder)


def test_word_counts_are_a_control_with_the_same_files(place: Path, tmp_path: Path) -> None:
    for task in ("cola", "stsb"):
        assert finetune(place, tmp_path / task, task, "finetune.init=tfidf") == 0
        files = {str(path.relative_to(tmp_path / task)) for path in (tmp_path / task).rglob("*") if path.is_file()}
        names = {"config.yaml", "provenance.json", "metrics.json", "checkpoint/model.safetensors"}
        assert names <= files and any(file.startswith("predictions/") for file in files)
    assert set(result(tmp_path / "cola")) == {"matthews", "accuracy"}
    weights = load_file(tmp_path / "stsb" / "checkpoint" / "model.safetensors")
    assert weights["weight"].shape[1] == 4 * len(weights["idf"])  # a pair: both, difference, product


@pytest.mark.parametrize("features", ["encoder", "random", "tfidf"])
def test_sentences_are_probed(place: Path, tmp_path: Path, features: str) -> None:
    words = [f"run_dir={place / 'run'}", f"out={tmp_path / 'metrics.json'}", "probe.data=cola"]
    assert main(["evaluate", *words, f"probe.features={features}", "probe.neighbours=3"]) == 0
    assert set(result(tmp_path)) == {"linear_top1", "linear_top1_valid", "knn_top1"}
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["train_samples"] == 40 and content["test_samples"] == 12


def test_scores_cannot_be_probed(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", f"run_dir={place / 'run'}", f"out={tmp_path / 'x.json'}", "probe.data=stsb"]) == 2
    assert "probe.data = stsb is not allowed" in capsys.readouterr().err


def test_a_sentence_that_is_too_long_is_named_where_it_is_scored(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = " ".join(FEW * 4)
    (tmp_path / "mine").mkdir()
    table = f"text\tlabel\nA cat.\tyes\nA dog.\tno\n{long}\tno\n"
    (tmp_path / "mine" / "train.tsv").write_text(table)
    (tmp_path / "mine" / "valid.tsv").write_text("text\tlabel\nA cat.\tyes\n")
    prepare = ["prepare", "data=sentences", f"data.path={tmp_path / 'mine'}", f"data_dir={place}"]
    assert main(prepare) == 0
    assert finetune(place, tmp_path / "run", "sentences") == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["too_long"] == 1 and metrics["train_rows"] == 2
    (tmp_path / "mine" / "valid.tsv").write_text(table)
    assert main(prepare) == 0
    assert finetune(place, tmp_path / "other", "sentences") == 2
    assert "valid.tsv, line 4: " in (said := capsys.readouterr().err) and "more than the 48 positions" in said


def test_another_vocabulary_than_the_checkpoints_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data=textfolder", f"data.path={place / 'texts'}", f"data_dir={tmp_path}"]
    (tmp_path / "cola").symlink_to(place / "cola")
    assert main(["prepare", *words, "data.vocab_size=62"]) == 0
    assert finetune(place, tmp_path / "run", "cola", f"data_dir={tmp_path}") == 2
    assert "has 62 ids, that of the pre-training 60" in capsys.readouterr().err


def test_a_missing_start_is_named(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune(place, tmp_path / "run", "cola", f"finetune.start_from={tmp_path / 'nothing'}") == 2
    assert "no such checkpoint" in capsys.readouterr().err


def a_set(texts: list[str], partners: list[str] | None = None, labels: object = None) -> SentenceSet:
    classes = ["0", "1"] if labels is None or np.asarray(labels).dtype == np.int64 else []
    return SentenceSet(Path("x.tsv"), classes, texts, partners, labels, [])  # type: ignore[arg-type]


def test_sentences_stand_between_special_tokens(place: Path) -> None:
    tokenizer = load_tokenizer(place / "textfolder")
    one, two = tokenizer.encode("A cat."), tokenizer.encode("The dog ran.")
    assert encode_set(a_set(["A cat."]), tokenizer)[0].tolist() == [BOS, *one, EOS]
    pair = encode_set(a_set(["A cat."], ["The dog ran."]), tokenizer)[0].tolist()
    assert pair == [BOS, *one, EOS, EOS, *two, EOS]


def test_batches_keep_to_rows_and_tokens_and_depend_on_seed_and_number() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 50)
    made = [np.full(length, 5) for length in lengths]
    stream = SentenceBatches(made, torch.arange(50), 8, seed=3, max_tokens=200)
    epoch = [stream[number] for number in range(len(stream))]
    assert sorted(torch.cat([batch["labels"] for batch in epoch]).tolist()) == list(range(50))
    for batch in epoch:
        assert len(batch["tokens"]) <= 8 and batch["tokens"].numel() <= 200
        assert ((batch["tokens"] != PAD).sum(1).numpy() == lengths[batch["labels"]]).all()
    again = SentenceBatches(made, torch.arange(50), 8, seed=3, max_tokens=200)
    late = len(stream) + 2
    assert torch.equal(again[late]["labels"], stream[late]["labels"])
    orders = [[stream[e * len(stream) + i]["labels"].tolist() for i in range(len(stream))] for e in (0, 1)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])


def test_a_row_longer_than_a_batch_stands_alone() -> None:
    assert [part.tolist() for part in cut([3, 9, 3, 3], np.arange(4), 8, 6)] == [[0], [1], [2, 3]]
    batches = evaluation_batches([np.zeros(n, dtype=np.int64) for n in (5, 2, 9)], max_tokens=10)
    assert [part.tolist() for part in batches] == [[1, 0], [2]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cola", {"matthews": 100 / 3, "accuracy": 200 / 3}),
        ("mrpc", {"accuracy": 200 / 3, "f1": 200 / 3, "acc_and_f1": 200 / 3}),
        ("sst2", {"accuracy": 200 / 3}),
    ],
)
def test_classes_are_scored_as_glue_does(name: str, expected: dict[str, float]) -> None:
    labels, predicted = np.array([1, 1, 1, 0, 0, 0]), np.array([1, 1, 0, 0, 0, 1])
    found = score_sentences(name, a_set([], labels=labels), predicted)
    assert {row["metric"]: row["value"] for row in found} == pytest.approx(expected)
    assert found[0]["metric"] == metric_names(name, ["0", "1"])[0] and {row["unit"] for row in found} == {"%"}


@pytest.mark.parametrize(("predicted", "pearson", "spearman"), [([1, 4, 9], 98.97, 100.0), ([2, 2, 2], 0.0, 0.0)])
def test_scores_are_correlated_and_a_constant_is_zero(predicted: list[float], pearson: float, spearman: float) -> None:
    found = score_sentences("stsb", a_set([], labels=np.array([1.0, 2.0, 3.0])), np.array(predicted, dtype=np.float32))
    values = {row["metric"]: row["value"] for row in found}
    assert values["pearson"] == pytest.approx(pearson, abs=0.01) and values["spearman"] == pytest.approx(spearman)
