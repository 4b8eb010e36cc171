"""Classes of recordings: pooling over frames, mixing, runs from the command line, probes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data2vec.cli import main
from data2vec.compose import amend
from data2vec.downstream.features import mean_of_frames
from data2vec.downstream.recordings import RecordingClassifier, _mix, _score, _targets, linear_softmax
from data2vec.downstream.speech_batches import SpeechInput
from data2vec.methods.build import build_encoder
from data2vec.nn.waveform import frame_padding

from .test_speech_data import recordings

SHORT = {
    "task": "fsdd",
    "task.data": "audiofolder",
    "finetune.updates": "2",
    "finetune.batch_seconds": "4.0",
    "finetune.micro_seconds": "4.0",
    "finetune.mask_length": "2",
}


def run(command: str, data: Path, words: dict[str, str]) -> int:
    return main([command, f"data_dir={data}", *(f"{k}={v}" for k, v in words.items())])


def test_frames_of_padding_do_not_enter_the_mean() -> None:
    x, padding = torch.randn(2, 5, 3), torch.tensor([[False] * 5, [False] * 2 + [True] * 3])
    pooled = mean_of_frames(x.masked_fill(padding[..., None], torch.nan), padding)
    assert torch.allclose(pooled, torch.stack([x[0].mean(0), x[1, :2].mean(0)]))
    assert torch.equal(mean_of_frames(x, None), x.mean(1))


def test_linear_softmax_is_the_logit_of_squares_over_sums() -> None:
    x = torch.randn(3, 7, 4)
    p = x.sigmoid()
    assert torch.allclose(linear_softmax(x).sigmoid(), p.square().sum(1) / p.sum(1), atol=1e-5)
    assert not linear_softmax(torch.full((1, 4, 1), 200.0)).isnan().any()


def test_a_padded_batch_gives_the_logits_of_its_members(speech_run: Path) -> None:
    config = amend(speech_run / "config.yaml", SHORT)
    torch.manual_seed(0)
    model = RecordingClassifier(config, build_encoder(config), 3).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    waveforms = [torch.randn(n) for n in (6000, 4000)]
    together = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    padding = frame_padding(torch.tensor([6000, 4000]), 6000, config.speech.conv_layers)
    alone = torch.cat([model(w[None]) for w in waveforms])
    assert torch.allclose(model(together, padding), alone, atol=1e-3)


def test_mixing_keeps_the_power_and_shares_the_classes(speech_run: Path) -> None:
    base = {"finetune.source_mixup": "0.5", "finetune.mix_prob": "1.0"}
    config = amend(speech_run / "config.yaml", SHORT | base)
    rows = 8
    batch = SpeechInput(torch.randn(rows, 20_000), None, None, torch.arange(rows), [10] * rows, 3)
    mixed, shares = _mix(batch, torch.eye(rows), config)
    again, _ = _mix(batch, torch.eye(rows), config)
    assert torch.equal(mixed.waveforms, again.waveforms)
    assert torch.allclose(mixed.waveforms.var(1), torch.ones(rows), atol=0.1)
    assert torch.allclose(shares.sum(1), torch.ones(rows)) and (shares.diagonal() >= 0.5).all()
    other, _ = _mix(replace(batch, number=4), torch.eye(rows), config)
    assert not torch.equal(mixed.waveforms, other.waveforms)


def test_scores_of_single_and_several_classes() -> None:
    part = replace(recordings(4), labels=["a", "b", "c", "new"])
    logits = torch.tensor([[5.0, 0, 0], [5, 0, 0], [0, 0, 5], [5, 0, 0]])
    row, details = _score(logits, part, "label", ["a", "b", "c"])
    assert row["value"] == 50 and details["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    part = replace(part, labels=["a;b", "b", "a", "b"])
    targets = _targets(part, "labels", ["a", "b", "c"])
    assert targets.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]]
    row, details = _score(logits, part, "labels", ["a", "b", "c"])
    # a: scores 5 5 0 5 with 1 0 1 0 right; b: all scores equal; c has no recording
    assert details == {"classes_scored": 2} and row["metric"] == "map"
    assert row["value"] == pytest.approx(100 * ((1 / 3 * 1 / 2 + 1 / 2 * 1 / 2) + 3 / 4) / 2)


@pytest.mark.parametrize(("labels", "metric"), [("label", "accuracy"), ("labels", "map")])
def test_a_run_leaves_its_score(labels: str, metric: str, speech_run: Path, sorted_tones: Path, tmp_path: Path) -> None:
    words = SHORT | {"init_run": str(speech_run), "run_dir": str(tmp_path), "task.labels": labels}
    assert run("finetune", sorted_tones, words) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [row["metric"] for row in metrics["rows"]] == [metric] and metrics["classes"] == ["HIGH", "LOW"]
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert f"valid_{metric}" in last


@pytest.mark.parametrize("features", ["encoder", "random", "filterbank"])
def test_probes_tell_tones_apart(features: str, speech_run: Path, sorted_tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "metrics.json"
    words = {"run_dir": str(speech_run), "out": str(out), "probe.features": features}
    assert run("evaluate", sorted_tones, words | {"probe.regularisation": "[1.0]"}) == 0
    rows = {row["metric"]: row["value"] for row in json.loads(out.read_text())["rows"]}
    assert set(rows) == {"linear_top1", "linear_top1_valid", "knn_top1"} and rows["linear_top1"] == 100


def test_a_control_of_another_modality_is_refused(
    speech_run: Path, sorted_tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"run_dir": str(speech_run), "out": str(tmp_path / "m.json"), "probe.features": "pixels"}
    assert run("evaluate", sorted_tones, words) == 2
    assert "encoder, random, filterbank" in capsys.readouterr().err
