"""Small image sets packed into arrays: digits, CIFAR-10 (official or as files), Tiny ImageNet.

`pack(name, files)` gives classes and, for each split, labels and a stream of images; `write_split` stores
them as `<split>_images.npy` uint8 (N, H, W, 3) and `<split>_labels.npy` int64 (N,).
"""

from __future__ import annotations

import itertools
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from data2vec.data.archives import read_members
from data2vec.data.decode import decode_rgb
from data2vec.data.integrity import require_space
from data2vec.data.pickled import read_batch
from data2vec.errors import UserError

log = logging.getLogger(__name__)

Images = Iterator[tuple[str, NDArray[np.uint8]]]


@dataclass(frozen=True)
class PackedSplit:
    """Labels and, in the same order, (name, (H, W, 3) uint8) of every image."""

    labels: list[int]
    images: Images


@dataclass(frozen=True)
class PackedSet:
    """A data set about to be written."""

    classes: list[str]
    splits: dict[str, PackedSplit]


def pack(name: str, files: tuple[Path, ...], limit: int) -> PackedSet:
    """Read the originals of one of the packed sets; images are decoded only when they are written.

    Raises:
        UserError: a file is damaged, or its layout is not that of the data set.
    """
    return {"cifar10": _cifar10, "tiny-imagenet": _tiny_imagenet}[name](files, limit)


def pack_digits() -> PackedSet:
    """scikit-learn's digits: 1,437 for training and 360 for testing, the same share of every class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    grey, labels = load_digits(return_X_y=True)
    pixels = np.rint(grey.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8).repeat(3, axis=3)
    order = np.arange(len(labels))
    train, test = train_test_split(order, test_size=360, stratify=labels, random_state=0)
    splits = {
        split: PackedSplit(labels[chosen].tolist(), ((f"digit {i}", pixels[i]) for i in chosen))
        for split, chosen in (("train", np.sort(train)), ("test", np.sort(test)))
    }
    return PackedSet([str(digit) for digit in range(10)], splits)


def write_split(folder: Path, split: str, packed: PackedSplit) -> tuple[int, int]:
    """Write one split; height and width of its images.

    Raises:
        UserError: it is empty, an image is damaged or not as large as the first, or the disk is too small.
    """
    first = next(packed.images, None)
    if first is None:
        raise UserError(f"the {split} split holds no images")
    height, width = first[1].shape[:2]
    shape = (len(packed.labels), height, width, 3)
    require_space(folder.parent, int(np.prod(shape)), f"the {split} images")
    pixels = open_memmap(folder / f"{split}_images.npy", mode="w+", dtype=np.uint8, shape=shape)
    for row, (name, image) in enumerate(itertools.chain([first], packed.images)):
        if image.shape != shape[1:]:
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise UserError(f"image {name} is {size}, the others are {width}x{height}")
        pixels[row] = image
    pixels.flush()
    np.save(folder / f"{split}_labels.npy", np.asarray(packed.labels, dtype=np.int64))
    return height, width


def channel_statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all pixels, in 0..1, from exact histograms."""
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(images), 4096):
        piece = np.asarray(images[start : start + 4096]).reshape(-1, 3)
        for channel in range(3):
            counts[channel] += np.bincount(piece[:, channel], minlength=256)
    levels = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    std = np.sqrt(share @ levels**2 - mean**2)
    return [round(float(x), 6) for x in mean], [round(float(x), 6) for x in std]


def _cifar10(files: tuple[Path, ...], limit: int) -> PackedSet:
    contents: dict[str, bytes] = {}
    for file in files:
        contents |= read_members(file, limit, _is_cifar10)
    pickles = {PurePosixPath(name).name: (name, data) for name, data in contents.items() if _PICKLE.search(name)}
    if pickles:
        return _cifar10_official(pickles)
    where = ", ".join(str(file) for file in files)
    return _cifar10_files({name: data for name, data in contents.items() if not _PICKLE.search(name)}, where)


_PICKLE = re.compile(r"(^|/)cifar-10-batches-py/(data_batch_\d|test_batch|batches\.meta)$")
_PICTURE = re.compile(r"(^|/)(train|test)/[^/]+/[^/]+\.(jpe?g|png)$", re.IGNORECASE)


def _is_cifar10(name: str) -> bool:
    return bool(_PICKLE.search(name) or _PICTURE.search(name))


def _cifar10_official(pickles: dict[str, tuple[str, bytes]]) -> PackedSet:
    needed = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]
    if missing := [name for name in needed if name not in pickles]:
        raise UserError(f"cifar-10-batches-py lacks {', '.join(missing)}: fetch cifar-10-python.tar.gz again")
    classes = [name.decode() for name in read_batch(*pickles["batches.meta"]).get(b"label_names", [])]
    splits = {}
    for split, names in (("train", needed[:5]), ("test", needed[5:6])):
        batches = [_batch_arrays(*pickles[name], len(classes)) for name in names]
        labels = [label for _, of_batch in batches for label in of_batch]
        rows = itertools.chain.from_iterable(pixels for pixels, _ in batches)
        splits[split] = PackedSplit(labels, ((f"{split} {i}", image) for i, image in enumerate(rows)))
    return PackedSet(classes, splits)


def _batch_arrays(name: str, content: bytes, classes: int) -> tuple[NDArray[np.uint8], list[int]]:
    """Images (N, 32, 32, 3) and labels of a pickled batch, which holds N x 3072 in planes of colour."""
    batch = read_batch(name, content)
    data: Any = batch.get(b"data")
    labels: Any = batch.get(b"labels")
    arrays = isinstance(data, np.ndarray) and isinstance(labels, list)
    if (
        not arrays
        or data.dtype != np.uint8
        or data.shape != (len(labels), 3072)
        or not all(isinstance(label, int) and 0 <= label < classes for label in labels)
    ):
        raise UserError(f"{name} is not a CIFAR-10 batch: it must hold N x 3072 bytes and N labels below {classes}")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _cifar10_files(contents: dict[str, bytes], where: str) -> PackedSet:
    by_split: dict[str, list[tuple[str, str, bytes]]] = defaultdict(list)
    for name in sorted(contents):
        split, label = PurePosixPath(name).parts[-3:-1]
        by_split[split].append((label, name, contents[name]))
    if set(by_split) != {"train", "test"}:
        raise UserError(
            f"{where} holds images for {sorted(by_split) or 'no split'}, not for train and test: expected "
            "cifar-10-batches-py/ or train/<class>/ and test/<class>/"
        )
    classes = sorted({label for label, _, _ in by_split["train"]})
    return _from_encoded(classes, by_split)


def _tiny_imagenet(files: tuple[Path, ...], limit: int) -> PackedSet:
    contents: dict[str, bytes] = {}
    for file in files:
        contents |= read_members(file, limit, _is_tiny_imagenet)
    where = ", ".join(str(file) for file in files)
    by_split: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    annotated = _annotations(contents, where)
    for name in sorted(contents):
        path = PurePosixPath(name)
        if path.suffix.upper() != ".JPEG":
            continue
        if len(path.parts) >= 4 and path.parts[-4] == "train":
            by_split["train"].append((path.parts[-3], name, contents[name]))
        elif path.name in annotated:
            by_split["test"].append((annotated[path.name], name, contents[name]))
        else:
            raise UserError(f"{name} in {where} has no label in val_annotations.txt")
    wnids = sorted({label for label, _, _ in by_split["train"]})
    if not wnids:
        raise UserError(f"{where} holds no images under train/<wnid>/images/: it is not Tiny ImageNet")
    packed = _from_encoded(wnids, by_split)
    return PackedSet(_class_words(wnids, contents), packed.splits)


def _is_tiny_imagenet(name: str) -> bool:
    picture = re.search(r"(^|/)(train/[^/]+|val)/images/[^/]+\.JPEG$", name)
    return bool(picture) or PurePosixPath(name).name in ("val_annotations.txt", "words.txt")


def _annotations(contents: dict[str, bytes], where: str) -> dict[str, str]:
    """File name -> wnid of the validation images."""
    for name, content in contents.items():
        if name.endswith("val/val_annotations.txt"):
            rows = [line.split("\t") for line in content.decode().splitlines() if line.strip()]
            return {row[0]: row[1] for row in rows if len(row) >= 2}
    raise UserError(f"{where} lacks val/val_annotations.txt, which holds the labels of the validation images")


def _class_words(wnids: list[str], contents: dict[str, bytes]) -> list[str]:
    """The first word of each class where that is unique among the classes, else its wnid."""
    words = {}
    for name, content in contents.items():
        if PurePosixPath(name).name == "words.txt":
            rows = (line.partition("\t") for line in content.decode().splitlines())
            words = {wnid: text.split(",")[0].strip() for wnid, _, text in rows}
    named = [words.get(wnid, wnid) for wnid in wnids]
    return [word if named.count(word) == 1 else wnid for word, wnid in zip(named, wnids, strict=True)]


def _from_encoded(classes: list[str], by_split: dict[str, list[tuple[str, str, bytes]]]) -> PackedSet:
    """`by_split` holds (class, name, encoded image); decoding happens while the split is written."""
    index = {label: number for number, label in enumerate(classes)}
    splits = {}
    for split in ("train", "test"):
        rows = by_split[split]
        if unknown := sorted({label for label, _, _ in rows} - set(index)):
            raise UserError(f"the {split} split has classes that train has not: {', '.join(unknown[:5])}")
        decode: Callable[[tuple[str, str, bytes]], tuple[str, NDArray[np.uint8]]]
        decode = lambda row: (row[1], decode_rgb(row[2], row[1]))  # noqa: E731
        splits[split] = PackedSplit([index[label] for label, _, _ in rows], map(decode, rows))
    return PackedSet(classes, splits)
