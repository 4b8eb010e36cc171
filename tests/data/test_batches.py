"""The stream of batches is a pure function of seed and step; evaluation is in order, without randomness."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data2vec.data.batches import (
    Augmentation,
    Batch,
    BatchStream,
    EvaluationBatches,
    PretrainImages,
    evaluation_batches,
    loader,
)
from data2vec.data.images import load_images
from data2vec.errors import UserError

from .made_data import encoded_image, write_files

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def masks(rng: np.random.Generator, batch_size: int) -> dict[str, np.ndarray]:
    """What a trainer adds to each batch."""
    return {"is_masked": rng.random((batch_size, 4)) < 0.5}


def make_stream(folder: Path, batch_size: int = 32, seed: int = 7, extra: Callable | None = masks) -> BatchStream:
    """Digits, augmented with everything on."""
    source = PretrainImages(load_images(folder, "train"), Augmentation(8, MEAN, STD, color_jitter=0.4))
    return BatchStream(source, batch_size, seed, extra)


def equal(a: Batch, b: Batch) -> bool:
    """Whether two batches have the same keys, types and values, bit for bit."""
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def digits(run_prepare: Callable[..., Path]) -> Path:
    """The prepared digits."""
    return run_prepare("digits")


def test_batch_has_the_stated_shapes(digits: Path) -> None:
    batch = make_stream(digits)[3]
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "images": ((32, 3, 8, 8), torch.float32),
        "labels": ((32,), torch.int64),
        "indices": ((32,), torch.int64),
        "is_masked": ((32, 4), torch.bool),
    }
    assert torch.equal(batch["labels"], torch.from_numpy(load_images(digits, "train").labels)[batch["indices"]])


def test_same_step_gives_the_same_batch_whatever_came_before(digits: Path) -> None:
    used = make_stream(digits)
    for step in (0, 9, 2):
        used[step]
    assert equal(used[5], make_stream(digits)[5])
    assert not torch.equal(used[5]["images"], used[6]["images"])
    assert not torch.equal(used[5]["images"], make_stream(digits, seed=8)[5]["images"])


PROGRAM = """
import sys, torch
sys.path[:0] = {path!r}
from pathlib import Path
from data2vec.data.batches import Augmentation, BatchStream, PretrainImages
from data2vec.data.images import load_images
settings = Augmentation(8, (0.5,) * 3, (0.25,) * 3, color_jitter=0.4)
stream = BatchStream(PretrainImages(load_images(Path({folder!r}), "train"), settings), 32, 7)
torch.save(stream[5], {out!r})
"""


def test_another_process_gives_the_same_batch(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "batch.pt"
    program = PROGRAM.format(path=[p for p in sys.path if p], folder=str(digits), out=str(out))
    subprocess.run([sys.executable, "-c", program], check=True)
    assert equal(torch.load(out), make_stream(digits, extra=None)[5])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_and_threads_change_nothing_and_order_is_kept(digits: Path, workers: int) -> None:
    stream = make_stream(digits)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        loaded = list(loader(stream, 40, 46, workers))
    finally:
        torch.set_num_threads(threads)
    assert len(loaded) == 6
    assert all(equal(batch, stream[40 + n]) for n, batch in enumerate(loaded))


def test_resume_equals_an_undisturbed_run(digits: Path) -> None:
    through = list(loader(make_stream(digits), 0, 8, workers=0))
    resumed = list(loader(make_stream(digits), 0, 3, workers=0)) + list(loader(make_stream(digits), 3, 8, workers=2))
    assert all(equal(a, b) for a, b in zip(through, resumed, strict=True))


def test_global_random_state_is_left_alone(digits: Path) -> None:
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    for workers in (0, 1):
        list(loader(make_stream(digits), 0, 2, workers))
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_masks_do_not_change_the_images(digits: Path) -> None:
    assert torch.equal(make_stream(digits)[2]["images"], make_stream(digits, extra=None)[2]["images"])


def test_every_epoch_shows_each_image_once(digits: Path) -> None:
    stream = make_stream(digits, batch_size=100)
    count = len(stream.source)
    seen = np.concatenate([stream.indices(step) for step in range(30)])[: 2 * count].reshape(2, count)
    assert (np.sort(seen, axis=1) == np.arange(count)).all()
    assert (seen[0] != seen[1]).any()


def test_data_set_smaller_than_the_batch_wraps_over_epochs(digits: Path) -> None:
    stream = make_stream(digits, batch_size=3000)
    counts = np.bincount(stream.indices(0))
    assert set(counts) == {2, 3}
    assert len(counts) == 1437


def test_impossible_streams_are_told(digits: Path) -> None:
    with pytest.raises(UserError, match="batch_size=0 must be at least 1"):
        make_stream(digits, batch_size=0)
    with pytest.raises(UserError, match="seed=-1"):
        make_stream(digits, seed=-1)


def test_packed_images_of_the_right_size_are_evaluated_unchanged(digits: Path) -> None:
    test = load_images(digits, "test")
    batches = list(evaluation_batches(test, 8, (0, 0, 0), (1, 1, 1), 100))
    assert [len(batch["labels"]) for batch in batches] == [100, 100, 100, 60]
    assert torch.equal(torch.cat([batch["indices"] for batch in batches]), torch.arange(360))
    torch.testing.assert_close(batches[3]["images"][59] * 255, test.image(359).float())


def test_packed_images_of_another_size_are_resized_whole(digits: Path) -> None:
    batch = EvaluationBatches(load_images(digits, "test"), 16, MEAN, STD, 4, indices=np.array([9, 3]))[0]
    assert batch["images"].shape == (2, 3, 16, 16)
    assert batch["indices"].tolist() == [9, 3]


def test_image_files_are_resized_on_the_short_side_and_cropped_in_the_centre(
    run_prepare: Callable[..., Path], class_folders: Path
) -> None:
    dataset = load_images(run_prepare("imagefolder", path=class_folders), "test")
    (batch,) = evaluation_batches(dataset, 14, (0, 0, 0), (1, 1, 1), 8, workers=1)
    from torchvision.transforms import v2

    reference = v2.Compose(
        [v2.Resize(16, interpolation=v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(14)]
    )
    for row in range(len(dataset)):
        torch.testing.assert_close(batch["images"][row] * 255, reference(dataset.image(row)).float())


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_image_ends_the_stream_with_one_line_that_names_it(
    run_prepare: Callable[..., Path], tmp_path: Path, workers: int
) -> None:
    files = {f"{split}/a/{i}.jpg": encoded_image(i) for split in ("train", "test") for i in range(3)}
    root = write_files(tmp_path / "own", files | {"train/a/1.jpg": encoded_image(1)[:300]})
    source = PretrainImages(load_images(run_prepare("imagefolder", path=root), "train"), Augmentation(16, MEAN, STD))
    with pytest.raises(UserError, match=r"^image .*train/a/1.jpg cannot be decoded \(.*\): repair") as raised:
        list(loader(BatchStream(source, 3, 0), 0, 1, workers))
    assert "\n" not in str(raised.value)
