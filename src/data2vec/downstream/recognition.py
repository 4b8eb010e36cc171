"""Fine-tuning for speech recognition: letters by CTC, word error rate (algorithms.md 9.4, 9.5).

python -m data2vec finetune init_run=RUN task=an4 run_dir=RUN/finetune/an4
"""

import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE, Recordings
from data2vec.downstream.ctc import CTCModel, ctc_loss, log_probabilities
from data2vec.downstream.decoding import BeamSearch, greedy, lexicon_words, missing_decoder
from data2vec.downstream.letters import Letters, plain
from data2vec.downstream.ngram import arpa
from data2vec.downstream.scoring import score, worst
from data2vec.downstream.speech_batches import SpeechBatches, SpeechInput, evaluation_inputs
from data2vec.downstream.speech_data import first_labels, labelled_splits, subset
from data2vec.downstream.task import Scores, Task, start_encoder, task_data
from data2vec.errors import UserError
from data2vec.training.device import Device
from data2vec.training.loop import StepLoss
from data2vec.training.run_folder import write_atomic

log = logging.getLogger(__name__)

TRAIN_SUBSET = 50  # training utterances whose error rate is logged
EXAMPLES = 5  # texts kept beside their references


def build_task(config: RunConfig, init_run: Path, device: Device) -> Task:
    """Recognition of the task's recordings; the weights with the lowest word error rate on valid are kept."""
    recogniser = Recogniser(config, init_run, device)
    batches = recogniser.batches
    return Task(
        recogniser.model,
        batches,
        recogniser.loss,
        recogniser.evaluate,
        batches.accumulation,
        select="wer",
        select_highest=False,
        finish=recogniser.write_files,
    )


class Recogniser:
    """Recordings, letters and model of one task."""

    def __init__(self, config: RunConfig, init_run: Path, device: Device) -> None:
        """Letters are those of all training transcripts, also where only a part of them is learnt from."""
        ft = config.finetune
        self.config, self.device = config, device
        splits = labelled_splits(config, task_data(config), "transcript")
        every, self.valid = _with_text(splits.train, "train"), _with_text(splits.valid, "valid")
        self.tests = {name: _with_text(part, name) for name, part in splits.tests.items()}
        self.rule = splits.rule
        published = config.task.letters == "librispeech"
        self.letters = Letters.of_librispeech() if published else Letters.of_transcripts(_texts(every))
        self.train = first_labels(every, ft.train_limit, ft.train_seconds)
        for name, part in {"train": self.train, "valid": self.valid, **self.tests}.items():
            if unknown := self.letters.unknown(_texts(part)):
                log.warning("%s has letters that cannot be written and so count as errors: %s", name, unknown)
        codes = [torch.tensor(self.letters.encode(text)) for text in _texts(self.train)]
        self.targets = torch.nn.utils.rnn.pad_sequence(codes, batch_first=True)
        self.target_lengths = torch.tensor([len(code) for code in codes])
        encoder = start_encoder(config, init_run)
        reader, scale = ft.head == "conv", ft.head_init_scale
        self.model = CTCModel(encoder, config.model.dim, len(self.letters), ft.final_dropout, reader, scale)
        self.model.to(device.torch)
        self.batches = SpeechBatches(config, self.train, device)
        self.arpa = ""  # the language model, once it is estimated

    def loss(self, batch: SpeechInput, update: int) -> StepLoss:
        """CTC loss summed over the utterances of a batch."""
        frozen = update < self.config.finetune.freeze_updates
        logits = self.model(batch.waveforms, batch.padding, batch.masks, frozen)
        lengths = self.target_lengths[batch.indices]
        targets = self.targets[batch.indices, : int(lengths.max())]
        total = ctc_loss(logits, batch.padding, targets.to(logits.device), lengths.to(logits.device))
        return StepLoss(total, len(lengths), len(lengths))

    def evaluate(self, split: str) -> Scores:
        """Greedy error rates on valid and on some training utterances while training; everything at the end."""
        if split != "valid":
            return self._report()
        found = score(_texts(self.valid), self._greedy(self.emissions(self.valid)))
        some = subset(self.train, np.arange(min(len(self.train), TRAIN_SUBSET)))
        seen = score(_texts(some), self._greedy(self.emissions(some)))
        return Scores(_rows(found, "", {}), logged={"train_wer": seen["wer"]})

    def emissions(self, recordings: Recordings) -> list[Tensor]:
        """Log-probabilities (frames, letters) of every recording, on the CPU."""
        found = [torch.empty(0)] * len(recordings)
        for batch in evaluation_inputs(recordings, self.config, self.device):
            with self.device.autocast():
                logits = self.model(batch.waveforms, batch.padding)
            rows = log_probabilities(logits, None).cpu()
            for i, row, frames in zip(batch.indices.tolist(), rows, batch.frames, strict=True):
                found[i] = row[:frames].clone()
        return found

    def _greedy(self, emissions: list[Tensor]) -> list[str]:
        return [greedy(log_probs, self.letters) for log_probs in emissions]

    def _report(self) -> Scores:
        rows: list[dict[str, Any]] = []
        details: dict[str, Any] = {
            "letters": list(self.letters.symbols),
            "splits": self.rule,
            "train_utterances": len(self.train),
            "train_seconds": round(float(self.train.lengths.sum()) / SAMPLE_RATE, 1),
            "test": {},
        }
        search, details["lm"] = self._search()
        for name, part in self.tests.items():
            emissions, texts = self.emissions(part), _texts(part)
            # several test splits are told apart by the data set of their rows
            dataset = {"dataset": f"{task_data(self.config).name}/{name}"} if len(self.tests) > 1 else {}
            decoded = {"": self._greedy(emissions)}
            if search is not None:
                decoded["_lm"] = [search(log_probs) for log_probs in emissions]
            details["test"][name] = {}
            for ending, hypotheses in decoded.items():
                found = score(texts, hypotheses)
                rows += _rows(found, ending, dataset)
                details["test"][name][f"beam{ending}" if ending else "greedy"] = found | _examples(part, hypotheses)
        return Scores(rows, details)

    def write_files(self, run_dir: Path) -> None:
        """letters.txt, one symbol a line, and the language model if it was estimated, lm.arpa."""
        write_atomic(run_dir / "letters.txt", "\n".join(self.letters.symbols) + "\n")
        if self.arpa:
            write_atomic(run_dir / "lm.arpa", self.arpa)

    def _search(self) -> tuple[BeamSearch | None, dict[str, Any]]:
        """The beam search with its weights set on valid, and what there is to say about it."""
        task = self.config.task
        absent = "task.lm is null" if task.lm is None else missing_decoder()
        if absent or task.lm is None:
            log.info("no word error rate with a language model: %s", absent)
            return None, {"absent": absent}
        made = task.lm
        if task.lm == "train":
            self.arpa = arpa(_texts(self.train), task.lm_order)
            made = f"{task.lm_order}-grams of the training transcripts, interpolated Witten-Bell"
        words = lexicon_words(task, _texts(self.train))
        with TemporaryDirectory() as folder:
            path = Path(folder, "lm.arpa") if self.arpa else Path(task.lm)
            if self.arpa:
                path.write_text(self.arpa, encoding="utf-8")
            search = BeamSearch(self.letters, words, path, task)
        tuned = search.tune(self.emissions(self.valid), _texts(self.valid))
        return search, {"model": made, "words": len(search.words), "beam": task.beam} | tuned


def _texts(recordings: Recordings) -> list[str]:
    return [plain(text) for text in recordings.transcripts]


def _with_text(recordings: Recordings, split: str) -> Recordings:
    """The recordings in whose transcripts a word is left."""
    kept = np.array([i for i, text in enumerate(_texts(recordings)) if text], dtype=np.int64)
    if len(kept) == 0:
        raise UserError(f"no transcript of {recordings.name}, {split}, holds a letter")
    if len(kept) < len(recordings):
        log.warning("%s: %d transcripts hold no letter: left out", split, len(recordings) - len(kept))
    return subset(recordings, kept)


def _rows(found: dict[str, Any], ending: str, common: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [{"metric": f"{name}{ending}", "value": found[name], "unit": "%"} | common for name in ("wer", "cer")]
    return rows[:1] if ending else rows


def _examples(part: Recordings, hypotheses: list[str]) -> dict[str, Any]:
    """The utterances that went worst, and some evenly chosen ones."""
    texts = _texts(part)
    names = [Path(os.fsdecode(bytes(path))).name for path in part.paths]
    chosen = np.linspace(0, len(part) - 1, min(EXAMPLES, len(part))).round().astype(int)
    examples = [{"name": names[i], "reference": texts[i], "hypothesis": hypotheses[i]} for i in chosen]
    return {"worst": worst(names, texts, hypotheses), "examples": examples}
