"""Fine-tuning for classes or scores of sentences and pairs: GLUE, the embedded tasks, own tables (algorithms.md 9.6).

Nothing is cut: training rows longer than the position table are left out and counted, as released; a row that is to
be scored must fit. The best weights on the validation split are kept, chosen by the task's own metric. Where test
labels are withheld (GLUE), validation scores are reported, as in the papers.
"""

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.manifest import MANIFEST
from data2vec.data.sentence_batches import Ids, SentenceBatches, encode_set, evaluation_batches, require_short
from data2vec.data.sentence_sets import SentenceSet, load_sentences, sentence_splits
from data2vec.data.text import pad_rows
from data2vec.data.tokenizer import load_tokenizer, tokenizer_beside
from data2vec.data.vocabulary import Tokenizer
from data2vec.downstream.features import stratified
from data2vec.downstream.leaderboard import withheld, write_predictions
from data2vec.downstream.sentence import SentenceClassifier, sentence_loss
from data2vec.downstream.sentence_metrics import confusion, metric_names, score_sentences
from data2vec.downstream.task import Scores, Task, start_encoder, task_data
from data2vec.errors import UserError
from data2vec.training.checkpoint import check_vocabulary
from data2vec.training.device import Device
from data2vec.training.loop import StepLoss

log = logging.getLogger(__name__)

FINAL = "final"  # all that is reported
IMPORT = "import.json"  # only imported runs have it


def build_task(config: RunConfig, init_run: Path, device: Device) -> Task:
    """Classification where the prepared set has classes, regression where it has scores."""
    ft, data = config.finetune, task_data(config)
    train = load_sentences(data, "train")
    assert train.labels is not None
    texts = Texts(run_tokenizer(config, init_run if ft.init == "pretrained" else None), config.text.max_positions)
    reported = reported_splits(data)
    scored = {split: texts.checked(load_sentences(data, split)) for split in dict.fromkeys(["valid", *reported])}
    for _, dataset in withheld(data):
        texts.checked(dataset)
    chosen, left_out = texts.chosen(train, ft.train_limit, config.seed)
    scale = 1.0 if train.classes else float(np.abs(train.labels).max())
    targets = torch.from_numpy(train.labels) if train.classes else torch.from_numpy(train.labels / scale).float()
    rows = texts.rows(train)
    micro = math.gcd(ft.batch_size, config.train.micro_batch) if config.train.micro_batch else ft.batch_size
    stream = SentenceBatches([rows[i] for i in chosen], targets[chosen], micro, config.seed)
    model = SentenceClassifier(config, start_encoder(config, init_run), max(1, len(train.classes))).to(device.torch)

    def batches(first: int, last: int, every: int = 1) -> Iterator[dict[str, Tensor]]:
        for number in range(first, last, every):
            yield {key: value.to(device.torch, non_blocking=True) for key, value in stream[number].items()}

    def loss(batch: dict[str, Tensor], update: int) -> StepLoss:
        tokens, labels = batch["tokens"], batch["labels"]
        return StepLoss(sentence_loss(model(tokens), labels).sum(), len(tokens), len(tokens))

    def predict(dataset: SentenceSet) -> np.ndarray:
        outputs = model_outputs(model, texts.rows(dataset), device)
        if dataset.classes:
            return outputs.argmax(1)
        assert train.labels is not None
        return np.clip(scale * outputs[:, 0], train.labels.min(), train.labels.max())

    def evaluate(split: str) -> Scores:
        names = reported if split == FINAL else [split]
        scores = score_splits(data.name, {name: scored[name] for name in names}, predict)
        scores.details |= {"train_rows": len(chosen), "too_long": left_out}
        return scores

    def finish(run_dir: Path) -> None:
        write_predictions(run_dir, data, predict)

    select = metric_names(data.name, train.classes)[0]
    accumulation = ft.batch_size // micro
    return Task(model, batches, loss, evaluate, accumulation, reported=FINAL, select=select, finish=finish)


class Texts:
    """Ids of every set that a run reads, made once."""

    def __init__(self, tokenizer: Tokenizer, limit: int) -> None:
        """`limit`: positions of the model."""
        self.tokenizer, self.limit = tokenizer, limit
        self._rows: dict[Path, list[Ids]] = {}

    def rows(self, dataset: SentenceSet) -> list[Ids]:
        """Ids of each row."""
        if dataset.file not in self._rows:
            self._rows[dataset.file] = encode_set(dataset, self.tokenizer)
        return self._rows[dataset.file]

    def checked(self, dataset: SentenceSet) -> SentenceSet:
        """The same set. Raises UserError, with file and line, if a row is too long."""
        require_short(dataset, self.rows(dataset), self.limit)
        return dataset

    def chosen(self, dataset: SentenceSet, limit: int | None, seed: int) -> tuple[np.ndarray, int]:
        """At most `limit` rows to train on, and how many of all are left out as too long."""
        assert dataset.labels is not None
        fits = np.flatnonzero([len(row) <= self.limit for row in self.rows(dataset)])
        left_out = len(dataset) - len(fits)
        if left_out:
            log.info("%d of %d training rows exceed %d tokens and are left out", left_out, len(dataset), self.limit)
        groups = dataset.labels[fits] if dataset.classes else np.zeros(len(fits))
        return fits[stratified(groups, limit, seed)], left_out


def reported_splits(data: Path) -> list[str]:
    """The splits whose scores are a run's result: test, or validation (also MNLI's second) where tests are withheld."""
    labelled = [split for split, is_labelled in sentence_splits(data).items() if is_labelled]
    return ["test"] if "test" in labelled else [split for split in labelled if split.startswith("valid")]


def score_splits(name: str, sets: dict[str, SentenceSet], predict: Callable[[SentenceSet], np.ndarray]) -> Scores:
    """Metrics of the data set `name` on each split; those of MNLI's second one end in `_mismatched`."""
    rows: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    for split, dataset in sets.items():
        predicted, suffix = predict(dataset), split.removeprefix("valid").removeprefix("test")
        rows += score_sentences(name, dataset, predicted, suffix)
        details[f"rows_{split}"] = len(dataset)
        if dataset.classes:
            details |= {"classes": dataset.classes, f"confusion{suffix}": confusion(dataset, predicted)}
    return Scores(rows, details)


def run_tokenizer(config: RunConfig, init_run: Path | None = None) -> Tokenizer:
    """The tokenizer of a run; `init_run`: its folder, if weights are taken from it.

    An imported run has it in its folder; else it is that of the prepared text that the run was pre-trained on.

    Raises:
        UserError: there is none, or not the one that the checkpoint was trained with.
    """
    folder = Path(config.data_dir) / config.data.name
    own = tokenizer_beside(init_run) if init_run else None
    if own is None and init_run and (init_run / IMPORT).is_file() and not (folder / MANIFEST).is_file():
        raise UserError(
            f"{init_run} came without a vocabulary: put encoder.json, vocab.bpe and dict.txt, or vocabulary.model, "
            f"beside the checkpoint and import it again"
        )
    tokenizer = own or load_tokenizer(folder)
    if tokenizer.vocab_size != config.data.vocab_size:
        raise UserError(
            f"the vocabulary in {init_run if own else folder} has {tokenizer.vocab_size} ids, that of the pre-training "
            f"{config.data.vocab_size}: prepare {config.data.name} with data.vocab_size={config.data.vocab_size}"
        )
    weights = init_run / "checkpoint" / "model.safetensors" if init_run else None
    if weights and weights.is_file():
        check_vocabulary(weights, tokenizer)
    return tokenizer


@torch.no_grad()
def model_outputs(model: SentenceClassifier, rows: list[Ids], device: Device) -> np.ndarray:
    """Logits or scores (N, outputs) float32 of every row, in evaluation mode."""
    outputs = np.zeros((len(rows), model.out_proj.out_features), dtype=np.float32)
    for members in evaluation_batches(rows):
        tokens, _ = pad_rows([rows[i] for i in members])
        with device.autocast():
            outputs[members] = model(torch.from_numpy(tokens).to(device.torch)).float().cpu().numpy()
    return outputs
