"""The packed sets: official and converted layouts give the same kind of arrays; what is damaged is named."""

import hashlib
import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from data2vec.data.images import load_images
from data2vec.data.manifest import read_manifest
from data2vec.data.packing import channel_statistics
from data2vec.data.pickled import read_batch
from data2vec.errors import UserError

from .made_data import encoded_image, tree, write_archive, write_files

Prepare = Callable[..., Path]
CLASSES = [b"airplane", b"automobile"]


def cifar_files(bad: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """CIFAR-10 as image files: two classes, three training and two test images each."""
    files = {
        f"cifar10/{split}/{label.decode()}/{i}.jpg": encoded_image(10 * n + i)
        for split, count in (("train", 3), ("test", 2))
        for n, label in enumerate(CLASSES)
        for i in range(count)
    }
    return files | (bad or {})


def cifar_mirror(root: Path, files: dict[str, bytes], described: dict[str, Any] | None = None) -> Path:
    """A mirror with these files in CIFAR-10's two archives and their true checksums."""
    entries = []
    for split in ("train", "test"):
        part = {name: content for name, content in files.items() if f"/{split}/" in name}
        archive = write_archive(root / "cifar10" / f"cifar10-{split}.tar.xz", part)
        entries.append({"file": archive.name, "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()})
    text = yaml.safe_dump({"name": "made", "files": entries} | (described or {}))
    (root / "cifar10" / "DATASET.yaml").write_text(text)
    return root


def cifar_pickles(protocol: int = 2) -> tuple[dict[str, bytes], np.ndarray]:
    """The official form with ten images a batch; also all training images (50, 32, 32, 3)."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)
    files = {}
    for n, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        data = pixels[10 * n : 10 * n + 10].reshape(10, 3072)
        batch = {b"batch_label": b"x", b"labels": [0, 1] * 5, b"data": data, b"filenames": [b"f.png"] * 10}
        files[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=protocol)
    files["cifar-10-batches-py/batches.meta"] = pickle.dumps({b"label_names": CLASSES}, protocol=protocol)
    return files, pixels[:50].transpose(0, 2, 3, 1)


def tiny_files() -> dict[str, bytes]:
    """Tiny ImageNet with two classes, one image grey; the official order of members is not alphabetical."""
    files = {"t/words.txt": b"n01\tgoldfish, Carassius\nn02\tdesk\n", "t/wnids.txt": b"n02\nn01\n"}
    for n, wnid in enumerate(("n02", "n01")):
        files |= {f"t/train/{wnid}/images/{wnid}_{i}.JPEG": encoded_image(n * 9 + i, (64, 64)) for i in range(3)}
        files[f"t/train/{wnid}/{wnid}_boxes.txt"] = b"x"
    files["t/train/n01/images/n01_9.JPEG"] = encoded_image(5, (64, 64), mode="L")
    files |= {f"t/val/images/val_{i}.JPEG": encoded_image(30 + i, (64, 64)) for i in range(2)}
    files["t/val/val_annotations.txt"] = b"val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    files["t/test/images/test_0.JPEG"] = b"never read"
    return files


def nothing_left(tmp_path: Path) -> bool:
    """Whether preparation left no trace."""
    data = tmp_path / "data"
    return not data.exists() or not list(data.iterdir())


def test_digits_have_the_stated_split_every_time(run_prepare: Prepare) -> None:
    folder = run_prepare("digits")
    train, test = load_images(folder, "train"), load_images(folder, "test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.image(0).shape == (3, 8, 8)
    assert train.image_size == 8
    assert int(np.load(folder / "train_images.npy").max()) == 255
    assert np.bincount(test.labels).min() >= 35
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    shutil.rmtree(folder)
    run_prepare("digits")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_cifar10_of_the_mirror_is_packed_and_the_mirror_stays_as_it_was(run_prepare: Prepare, tmp_path: Path) -> None:
    mirror = cifar_mirror(tmp_path / "mirror", cifar_files(), {"conversion": "LOSSY"})
    before = tree(mirror)
    folder = run_prepare("cifar10", mirror=mirror)
    assert tree(mirror) == before
    train = load_images(folder, "train")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.asarray(Image.open(io.BytesIO(encoded_image(11))))
    np.testing.assert_array_equal(train.image(4).permute(1, 2, 0).numpy(), expected)
    manifest = read_manifest(folder)
    assert manifest.source == "mirror"
    assert "LOSSY" in manifest.note
    assert manifest.splits["test"].per_class == {"airplane": 2, "automobile": 2}


@pytest.mark.parametrize("protocol", [2, 4])
def test_official_cifar10_batches_are_read(run_prepare: Prepare, tmp_path: Path, protocol: int) -> None:
    files, pixels = cifar_pickles(protocol)
    folder = run_prepare("cifar10", path=write_files(tmp_path / "own", files))
    train = load_images(folder, "train")
    assert train.classes == ["airplane", "automobile"]
    assert len(load_images(folder, "test")) == 10
    np.testing.assert_array_equal(np.load(folder / "train_images.npy"), pixels)
    assert "not verified" in read_manifest(folder).note


def test_official_cifar10_archive_must_have_the_official_checksum(run_prepare: Prepare, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "cifar-10-python.tar.gz", cifar_pickles()[0])
    with pytest.raises(UserError, match=r"cifar-10-python.tar.gz is not the expected file"):
        run_prepare("cifar10", path=archive)
    assert nothing_left(tmp_path)


class Trap:
    """Runs a command when unpickled by plain pickle."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Pickle as a call of os.system."""
        return os.system, ("touch trapped",)


class OldDtype:
    """A dtype as Python 2's NumPy pickled it, with 0 and 1 for False and True."""

    def __reduce__(self) -> tuple[Any, tuple[str, int, int]]:
        """Pickle as a call of numpy.dtype."""
        return np.dtype, ("u1", 0, 1)


def test_pickles_cannot_run_code() -> None:
    with pytest.raises(UserError, match=r"data_batch_1 is not a CIFAR-10 batch .*system is not allowed"):
        read_batch("data_batch_1", pickle.dumps({b"data": Trap()}))
    assert not Path("trapped").exists()
    with pytest.raises(UserError, match="not a dictionary"):
        read_batch("data_batch_1", pickle.dumps([1]))
    with pytest.raises(UserError, match="is not a CIFAR-10 batch"):
        read_batch("data_batch_1", b"\x80")


def test_dtypes_of_python_2_pickles_are_read_without_a_warning() -> None:
    assert read_batch("x", pickle.dumps({b"d": OldDtype()}, protocol=2)) == {b"d": np.dtype("u1")}


@pytest.mark.parametrize(
    ("key", "value"), [(b"labels", [0, 1, 2] * 4), (b"data", np.zeros((10, 99), np.uint8)), (b"labels", None)]
)
def test_malformed_batch_is_named(run_prepare: Prepare, tmp_path: Path, key: bytes, value: Any) -> None:
    files, _ = cifar_pickles()
    name = "cifar-10-batches-py/data_batch_2"
    files[name] = pickle.dumps(pickle.loads(files[name]) | {key: value})
    with pytest.raises(UserError, match="data_batch_2 is not a CIFAR-10 batch"):
        run_prepare("cifar10", path=write_files(tmp_path / "own", files))
    assert nothing_left(tmp_path)


def test_missing_batch_is_named(run_prepare: Prepare, tmp_path: Path) -> None:
    files, _ = cifar_pickles()
    del files["cifar-10-batches-py/data_batch_3"]
    with pytest.raises(UserError, match="lacks data_batch_3"):
        run_prepare("cifar10", path=write_files(tmp_path / "own", files))


JPEG = encoded_image(3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"image .*train/airplane/bad.jpg is empty \(0 bytes\)"),
        (JPEG[:-30], r"image .*train/airplane/bad.jpg cannot be decoded \(image file is truncated"),
        (b"no image at all", r"image .*train/airplane/bad.jpg cannot be decoded"),
        (encoded_image(3, (16, 32)), r"image .*train/airplane/bad.jpg is 16x32, the others are 32x32"),
    ],
)
def test_bad_image_is_named_and_nothing_is_left(
    run_prepare: Prepare, tmp_path: Path, content: bytes, message: str
) -> None:
    mirror = cifar_mirror(tmp_path / "mirror", cifar_files({"cifar10/train/airplane/bad.jpg": content}))
    with pytest.raises(UserError, match=message):
        run_prepare("cifar10", mirror=mirror)
    assert nothing_left(tmp_path)


def test_truncated_mirror_archive_is_named(run_prepare: Prepare, tmp_path: Path) -> None:
    mirror = cifar_mirror(tmp_path / "mirror", cifar_files())
    archive = mirror / "cifar10" / "cifar10-test.tar.xz"
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"cifar10-test.tar.xz is not the expected file: its sha256"):
        run_prepare("cifar10", mirror=mirror)
    assert nothing_left(tmp_path)


def test_fewer_images_than_stated_is_an_error(run_prepare: Prepare, tmp_path: Path) -> None:
    stated = {"splits": {"train": {"images": 6}, "test": {"images": 5}}}
    mirror = cifar_mirror(tmp_path / "mirror", cifar_files(), stated)
    with pytest.raises(UserError, match="CIFAR-10 is not complete, test: 4 instead of 5"):
        run_prepare("cifar10", mirror=mirror)


def test_no_disk_space_leaves_nothing(run_prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(
        UserError, match=r"not enough disk space .* the train images: 18,432 bytes needed, 1,000 bytes free"
    ):
        run_prepare("cifar10", mirror=cifar_mirror(tmp_path / "mirror", cifar_files()))
    assert nothing_left(tmp_path)


def test_preparing_again_does_nothing_until_the_originals_change(run_prepare: Prepare, tmp_path: Path) -> None:
    mirror = cifar_mirror(tmp_path / "mirror", cifar_files())
    folder = run_prepare("cifar10", mirror=mirror)
    before = tree(folder)
    run_prepare("cifar10", mirror=mirror)
    run_prepare("cifar10")  # without the mirror: what is prepared is kept
    assert tree(folder) == before

    cifar_mirror(tmp_path / "mirror", cifar_files({"cifar10/train/airplane/more.jpg": encoded_image(99)}))
    run_prepare("cifar10", mirror=mirror)
    assert len(load_images(folder, "train")) == 7


def test_damaged_preparation_is_noticed_and_redone(run_prepare: Prepare, tmp_path: Path) -> None:
    mirror = cifar_mirror(tmp_path / "mirror", cifar_files())
    folder = run_prepare("cifar10", mirror=mirror)
    (folder / "train_images.npy").write_bytes(b"short")
    with pytest.raises(UserError, match=r"train_images.npy is missing or not the .* bytes"):
        load_images(folder, "train")
    run_prepare("cifar10", mirror=mirror)
    assert len(load_images(folder, "train")) == 6


def test_tiny_imagenet_labels_come_from_the_annotations(run_prepare: Prepare, tmp_path: Path) -> None:
    folder = run_prepare("tiny-imagenet", path=write_archive(tmp_path / "mine.tar.gz", tiny_files()))
    train, test = load_images(folder, "train"), load_images(folder, "test")
    assert train.classes == ["goldfish", "desk"]
    assert train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert test.labels.tolist() == [1, 0]
    grey = train.image(3)
    assert grey.shape == (3, 64, 64)
    assert bool((grey[0] == grey[1]).all())


def test_tiny_imagenet_without_labels_is_named(run_prepare: Prepare, tmp_path: Path) -> None:
    files = tiny_files()
    files["t/val/images/val_7.JPEG"] = encoded_image(1, (64, 64))
    with pytest.raises(UserError, match=r"val_7.JPEG .* has no label in val_annotations.txt"):
        run_prepare("tiny-imagenet", path=write_archive(tmp_path / "a.zip", files))
    del files["t/val/val_annotations.txt"]
    with pytest.raises(UserError, match=r"lacks val/val_annotations.txt"):
        run_prepare("tiny-imagenet", path=write_archive(tmp_path / "b.zip", files))


def test_channel_statistics_are_those_of_all_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), atol=1e-6)


def test_real_tiny_imagenet_cut(run_prepare: Prepare, real_mirror: Path) -> None:
    before = tree(real_mirror / "tiny-imagenet-12")
    folder = run_prepare("tiny-imagenet", mirror=real_mirror)
    assert tree(real_mirror / "tiny-imagenet-12") == before
    manifest = read_manifest(folder)
    assert {split: entry.items for split, entry in manifest.splits.items()} == {"train": 6000, "test": 600}
    assert set(manifest.splits["train"].per_class.values()) == {500}
    both = np.concatenate([np.load(folder / f"{split}_images.npy") for split in ("train", "test")])
    np.testing.assert_allclose(both.mean(axis=(0, 1, 2)), (125.034, 112.453, 96.237), atol=0.01)


def test_real_cifar10_test_split(tmp_path: Path, real_mirror: Path) -> None:
    from data2vec.data.archives import read_members
    from data2vec.data.decode import decode_rgb

    archive = real_mirror / "cifar10" / "cifar10-test.tar.xz"
    images = [decode_rgb(content, name) for name, content in read_members(archive, 2**30)]
    np.testing.assert_allclose(np.mean(images, axis=(0, 1, 2)), (126.001, 123.701, 114.825), atol=0.01)
