"""Fine-tuning for speech recognition from the command line, and what a batch does to transcripts."""

import json
from pathlib import Path

import pytest
import torch

from data2vec.cli import main
from data2vec.compose import amend
from data2vec.config import RunConfig
from data2vec.downstream import decoding
from data2vec.downstream.finetune import _for_finetuning
from data2vec.downstream.recognition import Recogniser
from data2vec.training.checkpoint import load_model
from data2vec.training.device import choose_device

SHORT = {
    "task": "audiofolder-ctc",
    "finetune.updates": "4",
    "finetune.batch_seconds": "4.0",
    "finetune.micro_seconds": "2.0",
    "finetune.channel_length": "4",
    "finetune.eval_every": "2",
}


def finetune(run_dir: Path, start: Path, data: Path, **changed: str) -> int:
    words = SHORT | {"data_dir": str(data)} | changed
    return main(["finetune", f"init_run={start}", f"run_dir={run_dir}", *(f"{k}={v}" for k, v in words.items())])


def recogniser(start: Path, data: Path, **changed: str) -> Recogniser:
    torch.manual_seed(0)
    config: RunConfig = _for_finetuning(amend(start / "config.yaml", SHORT | {"data_dir": str(data)} | changed))
    made = Recogniser(config, start, choose_device(config.train))
    for parameter in made.model.parameters():  # an untrained model says the same at every frame
        torch.nn.init.normal_(parameter, std=0.3)
    made.model.eval()
    return made


def test_a_run_leaves_error_rates_letters_and_the_worst_utterances(
    speech_run: Path, spoken: Path, tmp_path: Path
) -> None:
    assert finetune(tmp_path, speech_run, spoken) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    rows = {row["metric"]: row for row in metrics["rows"]}
    assert set(rows) == {"wer", "cer", "wer_lm"} and all(row["dataset"] == "audiofolder" for row in rows.values())
    assert (tmp_path / "letters.txt").read_text().split("\n")[:5] == ["<s>", "<pad>", "</s>", "<unk>", "|"]
    assert metrics["letters"][5:] == sorted("HIGLOW", key="HIGLOW".index) or set(metrics["letters"][5:]) == set(
        "HIGLOW"
    )
    greedy = metrics["test"]["test"]["greedy"]
    assert greedy["wer"] == pytest.approx(100 * sum(greedy[k] for k in EDITS) / greedy["words"])
    assert greedy["worst"][0]["alignment"][0].startswith("REF:") and len(greedy["examples"]) == 4
    assert "Witten-Bell" in metrics["lm"]["model"] and len(metrics["lm"]["tried"]) == 9
    assert (tmp_path / "lm.arpa").read_text().startswith("\\data\\")
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"valid_wer", "valid_cer", "train_wer"} <= set(last)


EDITS = ("substitutions", "deletions", "insertions")


def test_without_a_decoder_the_greedy_rate_stays_and_the_reason_is_kept(
    speech_run: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    assert finetune(tmp_path, speech_run, spoken, **{"finetune.updates": "1"}) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {row["metric"] for row in metrics["rows"]} == {"wer", "cer"}
    assert "pip install flashlight-text" in metrics["lm"]["absent"]


def test_a_padded_batch_gives_the_transcripts_of_its_members(speech_run: Path, spoken: Path) -> None:
    together = recogniser(speech_run, spoken, **{"finetune.batch_seconds": "60.0", "finetune.micro_seconds": "60.0"})
    alone = recogniser(speech_run, spoken)
    with torch.no_grad():
        batch, single = together.emissions(together.train), []
        for i in range(len(alone.train)):
            waveform = alone.train.waveform(i)[None]
            single.append(alone.model(waveform)[0].log_softmax(-1))
    assert len({len(rows) for rows in batch}) > 3  # lengths differ, so that there is padding
    for padded, unpadded in zip(batch, single, strict=True):
        assert torch.allclose(padded, unpadded, atol=1e-3)
    texts = together._greedy(batch)
    assert texts == alone._greedy(single) and any(texts)


def test_a_frozen_encoder_stays_while_the_letters_learn(speech_run: Path, spoken: Path, tmp_path: Path) -> None:
    frozen = {"finetune.updates": "2", "finetune.freeze_updates": "2", "task.lm": "null"}
    assert finetune(tmp_path, speech_run, spoken, **frozen) == 0
    before = load_model(speech_run / "checkpoint" / "model.safetensors")
    after = load_model(tmp_path / "checkpoint" / "model.safetensors")
    kept = [name for name in after if name.startswith("encoder.")]
    assert kept and all(torch.equal(after[name], before[name]) for name in kept)
    assert after["output.bias"].abs().sum() > 0


def test_letters_are_read_from_every_block_of_a_frozen_encoder(speech_run: Path, spoken: Path, tmp_path: Path) -> None:
    changed = {"finetune.head": "conv", "finetune.updates": "3", "finetune.freeze_updates": "3", "task.lm": "null"}
    assert finetune(tmp_path, speech_run, spoken, **changed) == 0
    before = load_model(speech_run / "checkpoint" / "model.safetensors")
    after = load_model(tmp_path / "checkpoint" / "model.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("encoder."))
    shares = after["reader.weights"].softmax(0)
    assert len(shares) == 3 and len(set(shares.tolist())) > 1  # what enters the two blocks, and what they put out


def test_from_scratch_the_convolutions_learn(speech_run: Path, spoken: Path) -> None:
    config = amend(speech_run / "config.yaml", SHORT | {"finetune.freeze_updates": "9"})
    assert _for_finetuning(config).speech.feature_grad_mult == 0
    config.finetune.init = "scratch"
    assert _for_finetuning(config).speech.feature_grad_mult == 1
    assert _for_finetuning(config).finetune.freeze_updates == 0


def test_batches_depend_on_their_number_alone(speech_run: Path, spoken: Path) -> None:
    batches = recogniser(speech_run, spoken, **{"finetune.mask_ratio": "0.3", "finetune.channel_ratio": "0.3"}).batches
    whole, later = list(batches(0, 6)), list(batches(4, 6))
    for a, b in zip(whole[4:], later, strict=True):
        assert torch.equal(a.waveforms, b.waveforms) and torch.equal(a.indices, b.indices)
        assert a.masks is not None and b.masks is not None and a.masks.channels is not None
        assert torch.equal(a.masks.is_masked, b.masks.is_masked) and torch.equal(a.masks.channels, b.masks.channels)
    assert batches.accumulation == 2


def test_the_loss_is_that_of_the_transcripts_of_the_batch(speech_run: Path, spoken: Path) -> None:
    made = recogniser(speech_run, spoken, **{"finetune.mask_ratio": "0.0", "finetune.channel_ratio": "0.0"})
    batch = next(made.batches(0, 1))
    found = made.loss(batch, 0)
    total = 0.0
    for i in batch.indices.tolist():
        log_probs = made.model(made.train.waveform(i)[None])[0].log_softmax(-1)
        target = torch.tensor(made.letters.encode(made.train.transcripts[i]))
        lengths = torch.tensor([len(log_probs)]), torch.tensor([len(target)])
        total += torch.nn.functional.ctc_loss(log_probs[:, None], target[None], *lengths, reduction="sum").item()
    assert found.total.item() == pytest.approx(total, rel=1e-4) and found.sample_size == len(batch.indices)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"finetune.micro_seconds": "0.5"}, "raise it"),
        ({"task.lm": "absent.arpa"}, "no such file"),
        ({"task.data": "an4"}, "no prepared data"),
        ({"task": "classification"}, "is about vision"),
        ({"finetune.head": "conv", "finetune.layer_drop": "0.1"}, "0 with finetune.head=conv"),
    ],
)
def test_mistakes_end_in_one_line(
    changed: dict[str, str],
    said: str,
    speech_run: Path,
    spoken: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    short = {"finetune.updates": "1", "finetune.warmup_updates": "0"}
    assert finetune(tmp_path, speech_run, spoken, **(short | changed)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and said in error
