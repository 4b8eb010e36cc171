"""Preparing image sets into `<data_dir>/<name>/`, and reading them back.

Small sets become arrays ("packed"), large ones tables of paths ("folder"). Either way `load_images` gives an
object with `len`, `labels`, `classes` and `image(i)`.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data2vec.data.archives import extract
from data2vec.data.decode import decode_rgb
from data2vec.data.fetch import Originals, download_originals, find_originals
from data2vec.data.folders import FolderSet, read_table, scan_image_folder, scan_imagenet, write_table
from data2vec.data.integrity import atomic_directory
from data2vec.data.manifest import (
    MANIFEST,
    UNPACKED,
    Manifest,
    OriginalEntry,
    SplitEntry,
    complete_manifest,
    read_manifest,
    require_replaceable,
    write_manifest,
)
from data2vec.data.packing import PackedSet, channel_statistics, pack, pack_digits, write_split
from data2vec.data.sources import Source
from data2vec.errors import UserError

log = logging.getLogger(__name__)

MAX_NAMED = 50
"""Skipped files that the manifest names; the rest are only counted."""


class ImageSet(Protocol):
    """One split of a prepared image set."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> list[str]: ...  # noqa: D102
    @property
    def labels(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def image_size(self) -> int | None:
        """Height and width of every image in pixels; None where they differ."""

    def __len__(self) -> int:
        """Images in the split."""
        ...

    def image(self, index: int) -> Tensor:
        """Image `index` as uint8 (3, H, W)."""


class PackedImages:
    """A split held as one array, mapped into memory and read as needed."""

    def __init__(self, folder: Path, split: str, manifest: Manifest) -> None:
        """Open `<split>_images.npy` and `<split>_labels.npy`."""
        self.name, self.classes, self.image_size = manifest.name, manifest.classes, manifest.image_size
        # As a plain array, since every index into a memmap object costs microseconds.
        self.images: NDArray[np.uint8] = np.load(folder / f"{split}_images.npy", mmap_mode="r").view(np.ndarray)
        self.labels: NDArray[np.int64] = np.load(folder / f"{split}_labels.npy")

    def __len__(self) -> int:
        """Images in the split."""
        return len(self.labels)

    def image(self, index: int) -> Tensor:
        """Image `index` as uint8 (3, H, W)."""
        return torch.from_numpy(self.images[index].transpose(2, 0, 1).copy())


class FolderImages:
    """A split held as image files, decoded when asked for."""

    image_size: int | None = None

    def __init__(self, folder: Path, split: str, manifest: Manifest) -> None:
        """Read `<split>.csv`."""
        self.name, self.classes = manifest.name, manifest.classes
        self.root = os.fsencode(folder / (manifest.root or ""))
        paths, labels = read_table(folder / f"{split}.csv")
        # One array instead of a million strings: forked workers share it without touching reference counts.
        self.paths: NDArray[np.bytes_] = np.array(paths, dtype=np.bytes_)
        self.labels: NDArray[np.int64] = np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        """Images in the split."""
        return len(self.labels)

    def image(self, index: int) -> Tensor:
        """Image `index` as uint8 (3, H, W).

        Raises:
            UserError: the file is gone or damaged; the message names it.
        """
        path = Path(os.fsdecode(os.path.join(self.root, self.paths[index])))
        return torch.from_numpy(decode_rgb(path, str(path)).transpose(2, 0, 1).copy())


def load_images(folder: Path, split: str) -> PackedImages | FolderImages:
    """One split of the set prepared in `folder`.

    Raises:
        UserError: it is not prepared, not complete, not of images, or has no such split.
    """
    manifest = read_manifest(folder)
    if manifest.modality != "vision":
        raise UserError(f"{folder} holds {manifest.modality} data, not images")
    if split not in manifest.splits:
        raise UserError(f"data set {manifest.name!r} has no split {split!r}, only {', '.join(manifest.splits)}")
    return (PackedImages if manifest.format == "packed" else FolderImages)(folder, split, manifest)


def prepare_images(source: Source, path: Path | None, data_dir: Path, mirror: Path | None, offline: bool) -> Path:
    """Make `<data_dir>/<name>/` complete; the path of its manifest. Does nothing if it already is.

    Raises:
        UserError: the originals are missing, damaged or laid out differently. Nothing is left behind.
    """
    target = data_dir / source.name
    if source.kind == "embedded":
        if complete_manifest(target, source.name) is None:
            _prepare_packed(source, pack_digits(), target, None)
    elif source.kind == "folder" and (path is not None or source.mirror is None):
        _prepare_own_folder(source, path, target)
    else:
        originals = find_originals(source, path, mirror, data_dir)
        known = originals.fingerprint() if originals else None
        if (ready := complete_manifest(target, known)) is not None:
            log.info("%s is already prepared in %s (from: %s)", source.name, target, ready.source)
            return target / MANIFEST
        originals = originals or download_originals(source, mirror, data_dir, offline)
        originals.check()
        if source.kind == "packed":
            _prepare_packed(source, pack(source.name, originals.files, source.unpacked_limit), target, originals)
        else:
            _prepare_unpacked_folder(source, originals, target)
    return target / MANIFEST


def _prepare_packed(source: Source, packed: PackedSet, target: Path, originals: Originals | None) -> None:
    require_replaceable(target)
    labels = {split: part.labels for split, part in packed.splits.items()}
    _check_counts(source, originals, {split: len(items) for split, items in labels.items()})
    log.info("packing %s into %s", source.name, target)
    with atomic_directory(target) as folder:
        sizes = {write_split(folder, split, part) for split, part in packed.splits.items()}
        if len(sizes) > 1 or len(set(next(iter(sizes)))) > 1:
            raise UserError(f"the images of {source.name} are not all of one square size: {sorted(sizes)}")
        mean, std = channel_statistics(np.load(folder / "train_images.npy", mmap_mode="r"))
        manifest = _describe(source, packed.classes, labels, originals)
        manifest.image_size, manifest.mean, manifest.std = sizes.pop()[0], mean, std
        write_manifest(folder, manifest)


def _prepare_own_folder(source: Source, path: Path | None, target: Path) -> None:
    if path is None:
        raise UserError(f"data set {source.name!r} needs data.path=FOLDER: {source.by_hand}")
    root = path.resolve()
    if root.is_relative_to(target.resolve()) or target.resolve().is_relative_to(root):
        raise UserError(
            f"the prepared data would go to {target}, which overlaps data.path={path}: choose another data_dir="
        )
    found = scan_imagenet(root) if source.name == "imagenet" else scan_image_folder(root)
    if complete_manifest(target, found.fingerprint) is not None:
        return
    require_replaceable(target)
    with atomic_directory(target) as folder:
        _write_folder_set(source, found, str(root), folder, None)


def _prepare_unpacked_folder(source: Source, originals: Originals, target: Path) -> None:
    require_replaceable(target)
    with atomic_directory(target) as folder:
        root = folder / UNPACKED
        root.mkdir()
        for archive in originals.files:
            extract(archive, root, source.unpacked_limit)
        inner = root
        while len(entries := list(inner.iterdir())) == 1 and entries[0].is_dir():
            inner = entries[0]  # archives wrap their content in one or two folders
        found = scan_image_folder(inner)
        counts = {split: len(rows) for split, rows in found.splits.items()}
        _check_counts(source, originals, {"all": sum(counts.values())})
        _write_folder_set(source, found, inner.relative_to(folder).as_posix(), folder, originals)


def _write_folder_set(source: Source, found: FolderSet, root: str, folder: Path, originals: Originals | None) -> None:
    for split, rows in found.splits.items():
        write_table(folder / f"{split}.csv", rows)
    labels = {split: [label for _, label in rows] for split, rows in found.splits.items()}
    manifest = _describe(source, found.classes, labels, originals)
    manifest.root, manifest.skipped = root, found.skipped[:MAX_NAMED]
    more = f"{len(found.skipped)} files that are not images were left out." if found.skipped else ""
    complete = dict(source.items)
    part = {split: len(items) for split, items in labels.items()}
    if source.name == "imagenet" and part != complete:
        more = f"Not the complete set: {part} of {complete} images. {more}"
        log.warning("%s: not the complete set, %s of %s images", source.title, part, complete)
    manifest.note = " ".join(filter(None, (manifest.note, found.note, more.strip())))
    if originals is None:
        manifest.fingerprint = found.fingerprint
    write_manifest(folder, manifest)
    log.info("%s: %s", source.name, ", ".join(f"{n:,} {split} images" for split, n in part.items()))


def _check_counts(source: Source, originals: Originals | None, found: Mapping[str, int]) -> None:
    """Compare with what the mirror or the table of sets states; "all" is compared with the sum."""
    stated = dict(originals.items) if originals else {}
    expected = {"all": sum(stated.values())} if "all" in found and stated else stated
    wrong = [
        f"{split}: {found.get(split, 0):,} instead of {n:,}" for split, n in expected.items() if found.get(split) != n
    ]
    if wrong:
        raise UserError(f"{source.title} is not complete, {'; '.join(wrong)} images: fetch it again")


def _describe(
    source: Source, classes: list[str], labels: Mapping[str, Sequence[int]], originals: Originals | None
) -> Manifest:
    splits = {}
    for split in ("train", "test"):
        counted = Counter(labels[split])
        per_class = {name: counted[number] for number, name in enumerate(classes)}
        splits[split] = SplitEntry(items=len(labels[split]), per_class=per_class)
    note = " ".join(filter(None, (source.note, originals.note if originals else "")))
    pairs = zip(originals.files, originals.checksums, strict=True) if originals else ()
    return Manifest.model_validate(
        {
            "name": source.name,
            "modality": source.modality,
            "classes": classes,
            "splits": splits,
            "format": "folder" if source.kind == "folder" else "packed",
            "source": originals.origin if originals else ("embedded" if source.kind == "embedded" else "folder"),
            "licence": source.licence,
            "citation": source.citation,
            "note": note,
            "originals": [OriginalEntry(file=file.name, checksum=checksum) for file, checksum in pairs],
            "fingerprint": originals.fingerprint() if originals else source.name,
        }
    )
