"""Image sets that stay as files: any ImageFolder, and ImageNet as its users have it.

A split is a folder of class folders. The scan reads names and sizes only; images are decoded when used.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from data2vec.errors import UserError

log = logging.getLogger(__name__)

TEST_NAMES = ("test", "val", "validation", "valid")
TEST_SHARE = 0.2

_SORT_IMAGENET = (
    "the labels are in ILSVRC2012_devkit_t12.tar.gz. Move the flat folder away, put ILSVRC2012_img_val.tar "
    'and the devkit archive into {root} and run: python -c "from torchvision.datasets import ImageNet; '
    "ImageNet('{root}', split='val')\""
)


@dataclass(frozen=True)
class ClassFolders:
    """What one folder of class folders holds: file paths relative to `root`, and their labels."""

    root: Path
    classes: list[str]
    paths: list[str]
    labels: list[int]
    sizes: list[int]
    skipped: list[str]


@dataclass(frozen=True)
class FolderSet:
    """A data set of image files: for each split (path relative to `root`, label) in a fixed order."""

    root: Path
    classes: list[str]
    splits: dict[str, list[tuple[str, int]]]
    fingerprint: str
    note: str = ""
    skipped: list[str] = field(default_factory=list)


def scan_image_folder(root: Path) -> FolderSet:
    """A folder with train/ and test/ (or val/), or one folder of class folders that is split here.

    Raises:
        UserError: the layout is neither, or an image is empty.
    """
    _require_folder(root)
    names = set(_subfolders(root))
    test_name = next((name for name in TEST_NAMES if name in names), None)
    if "train" in names and test_name:
        return _two_folders(root, test_name)
    if "train" in names or test_name:
        lone = "train" if "train" in names else test_name
        raise UserError(
            f"{root} has {lone}/ but no {'test/ or val/' if lone == 'train' else 'train/'}: add it, or pass "
            f"data.path={root / str(lone)} to have that folder split"
        )
    return _split_by_hash(scan_classes(root))


def scan_imagenet(root: Path) -> FolderSet:
    """ImageNet, or a part of it with fewer classes: train/<wnid>/ and val/<wnid>/.

    Raises:
        UserError: a part is missing or flat, or the two parts disagree about the classes.
    """
    _require_folder(root)
    nested = root / "ILSVRC" / "Data" / "CLS-LOC"
    if nested.is_dir():
        raise UserError(f"{root} has the layout of the Kaggle archive: pass data.path={nested}")
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise UserError(f"{root} has no {part}/: ImageNet needs {root}/train/<wnid>/ and {root}/val/<wnid>/")
    if not _subfolders(root / "val") and (flat := _direct_images(root / "val")):
        raise UserError(
            f"{root / 'val'} holds {len(flat):,} images in one flat folder and no class folders: "
            + _SORT_IMAGENET.format(root=root)
        )
    return _two_folders(root, "val")


def scan_classes(root: Path) -> ClassFolders:
    """Every image below the class folders of `root`, sorted by class and path.

    Raises:
        UserError: there are no class folders, images lie beside them, or a class or an image is empty.
    """
    classes = _subfolders(root)
    stray = _direct_images(root)
    if stray:
        raise UserError(
            f"{root} has image files directly in it ({stray[0]!r} and {len(stray) - 1} more); put each into "
            f"the folder of its class, {root.name}/<class>/. Images without labels can all go into one folder"
        )
    if not classes:
        raise UserError(f"{root} has no class folders: expected {root.name}/<class>/<image>")
    paths: list[str] = []
    labels: list[int] = []
    sizes: list[int] = []
    skipped: list[str] = []
    start = len(str(root)) + 1  # relpath would take most of the time for a million images
    for label, name in enumerate(classes):
        found = sorted(_walk(root / name, skipped))
        if not found:
            raise UserError(f"class folder {root / name} holds no images ({', '.join(sorted(IMG_EXTENSIONS))})")
        for path, size in found:
            if size == 0:
                raise UserError(f"image {path} is empty (0 bytes): repair or remove it, then prepare again")
            paths.append(path[start:])
            labels.append(label)
            sizes.append(size)
    return ClassFolders(root, classes, paths, labels, sizes, sorted(path[start:] for path in skipped))


def write_table(path: Path, rows: list[tuple[str, int]]) -> None:
    """Store one split as CSV with the columns path and label."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "label"))
        writer.writerows(rows)


def read_table(path: Path) -> tuple[list[bytes], list[int]]:
    """Paths (as the file system's bytes) and labels of one split."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        rows = csv.reader(stream)
        next(rows)
        pairs = [(os.fsencode(name), int(label)) for name, label in rows]
    return [name for name, _ in pairs], [label for _, label in pairs]


def _two_folders(root: Path, test_name: str) -> FolderSet:
    train, test = scan_classes(root / "train"), scan_classes(root / test_name)
    only_train = sorted(set(train.classes) - set(test.classes))
    only_test = sorted(set(test.classes) - set(train.classes))
    if only_train or only_test:
        raise UserError(
            f"{root}: train/ has {len(train.classes)} classes, {test_name}/ has {len(test.classes)}; "
            f"only in train/: {_few(only_train)}; only in {test_name}/: {_few(only_test)}. "
            "Both need the same class folders"
        )
    splits = {
        split: [(f"{name}/{path}", label) for path, label in zip(part.paths, part.labels, strict=True)]
        for split, name, part in (("train", "train", train), ("test", test_name, test))
    }
    skipped = [f"train/{path}" for path in train.skipped] + [f"{test_name}/{path}" for path in test.skipped]
    return FolderSet(root, train.classes, splits, _fingerprint(train, test), skipped=skipped)


def _split_by_hash(found: ClassFolders) -> FolderSet:
    """In every class the images whose path hashes lowest are the test split, a fifth of them."""
    by_class: dict[int, list[str]] = {}
    for path, label in zip(found.paths, found.labels, strict=True):
        by_class.setdefault(label, []).append(path)
    chosen: set[str] = set()
    for paths in by_class.values():
        count = min(max(1, round(TEST_SHARE * len(paths))), len(paths) - 1)
        chosen |= set(sorted(paths, key=_path_hash)[:count])
    rows = list(zip(found.paths, found.labels, strict=True))
    splits = {
        "train": [row for row in rows if row[0] not in chosen],
        "test": [row for row in rows if row[0] in chosen],
    }
    if not splits["test"]:
        raise UserError(f"{found.root} has one image in every class: too few to set some aside for testing")
    note = (
        f"No split was given: in every class the {TEST_SHARE:.0%} of images with the lowest SHA-256 of their "
        "path are the test split."
    )
    return FolderSet(found.root, found.classes, splits, _fingerprint(found), note, found.skipped)


def _path_hash(path: str) -> str:
    return hashlib.sha256(path.replace(os.sep, "/").encode(errors="surrogateescape")).hexdigest()


def _fingerprint(*parts: ClassFolders) -> str:
    """Changes when an image is added, removed, renamed, moved to another class, or of another size."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.root}\n".encode(errors="surrogateescape"))
        for path, size in zip(part.paths, part.sizes, strict=True):
            digest.update(f"{path}\0{size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _walk(folder: Path, skipped: list[str]) -> list[tuple[str, int]]:
    """(path, size) of the images below `folder`; other files are added to `skipped`, hidden ones ignored."""
    found: list[tuple[str, int]] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.startswith("."):
                continue
            path = os.path.join(parent, name)
            if not name.lower().endswith(IMG_EXTENSIONS):
                skipped.append(path)
                continue
            try:
                found.append((path, os.stat(path).st_size))
            except FileNotFoundError as error:
                raise UserError(f"image {path} is a link to a file that does not exist") from error
    return found


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise UserError(f"data.path={root} is {'not a folder' if root.exists() else 'not there'}")


def _subfolders(root: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def _direct_images(root: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(root) if e.is_file() and e.name.lower().endswith(IMG_EXTENSIONS))


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
