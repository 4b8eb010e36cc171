"""Folders of images: layouts, splits, and a plain word for each way of getting them wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data2vec.data.images import load_images
from data2vec.data.manifest import read_manifest
from data2vec.errors import UserError

from .made_data import encoded_image, tree, write_files

Prepare = Callable[..., Path]
IMAGE = encoded_image(1)


def split_folder(root: Path, train: str = "train", test: str = "test", classes: str = "ab") -> Path:
    """Two images a class for training, one for testing."""
    files = {f"{train}/{c}/{i}.jpg": encoded_image(i, (30, 40)) for c in classes for i in range(2)}
    return write_files(root, files | {f"{test}/{c}/x.jpg": encoded_image(7, (50, 30)) for c in classes})


def test_one_folder_of_classes_is_split_the_same_way_every_time(run_prepare: Prepare, class_folders: Path) -> None:
    folder = run_prepare("imagefolder", path=class_folders)
    train, test = load_images(folder, "train"), load_images(folder, "test")
    assert train.classes == ["cat", "dog"]
    assert np.bincount(train.labels).tolist() == [5, 3]
    assert np.bincount(test.labels).tolist() == [1, 1]
    assert "lowest SHA-256 of their path" in read_manifest(folder).note
    first = (folder / "test.csv").read_text()
    assert first.startswith("path,label\n")
    shutil.rmtree(folder)
    run_prepare("imagefolder", path=class_folders)
    assert (folder / "test.csv").read_text() == first


def test_images_are_not_copied_and_come_out_rgb_in_their_own_size(run_prepare: Prepare, class_folders: Path) -> None:
    before = tree(class_folders)
    folder = run_prepare("imagefolder", path=class_folders)
    assert sorted(p.name for p in folder.iterdir()) == [".manifest.json", "manifest.json", "test.csv", "train.csv"]
    assert tree(class_folders) == before
    train = load_images(folder, "train")
    assert train.image_size is None
    assert {tuple(train.image(i).shape) for i in np.flatnonzero(train.labels == 1)} == {(3, 44, 30)}


@pytest.mark.parametrize("test", ["test", "val", "validation"])
def test_given_splits_are_kept(run_prepare: Prepare, tmp_path: Path, test: str) -> None:
    folder = run_prepare("imagefolder", path=split_folder(tmp_path / "own", test=test))
    assert len(load_images(folder, "train")) == 4
    assert load_images(folder, "test").labels.tolist() == [0, 1]
    with pytest.raises(UserError, match="has no split 'val', only train, test"):
        load_images(folder, "val")


def test_added_image_is_noticed(run_prepare: Prepare, tmp_path: Path) -> None:
    root = split_folder(tmp_path / "own")
    folder = run_prepare("imagefolder", path=root)
    before = tree(folder)
    run_prepare("imagefolder", path=root)
    assert tree(folder) == before
    (root / "train" / "a" / "new.jpg").write_bytes(IMAGE)
    run_prepare("imagefolder", path=root)
    assert len(load_images(folder, "train")) == 5


def test_other_files_are_listed_and_hidden_ones_ignored(run_prepare: Prepare, tmp_path: Path) -> None:
    root = write_files(split_folder(tmp_path / "own"), {"train/a/notes.txt": b"x", "train/.git/y.jpg": IMAGE})
    (root / "train" / "a" / ".hidden.jpg").write_bytes(IMAGE)
    manifest = read_manifest(run_prepare("imagefolder", path=root))
    assert manifest.skipped == ["train/a/notes.txt"]
    assert manifest.splits["train"].items == 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": IMAGE, "x/b.jpg": IMAGE}, r"own has image files directly in it \('a.jpg'"),
        ({"readme.txt": b"x"}, "own has no class folders"),
        ({"x/b.jpg": IMAGE, "y/notes.txt": b"1"}, r"class folder .*own/y holds no images"),
        ({"x/b.jpg": IMAGE, "x/empty.jpg": b""}, r"image .*x/empty.jpg is empty \(0 bytes\)"),
        ({"x/b.jpg": IMAGE}, "one image in every class"),
        (
            {"train/x/b.jpg": IMAGE},
            r"own has train/ but no test/ or val/: add it, or pass data.path=.*own/train",
        ),
        ({"val/x/b.jpg": IMAGE}, r"own has val/ but no train/"),
        (
            {"train/x/b.jpg": IMAGE, "train/y/b.jpg": IMAGE, "test/x/b.jpg": IMAGE},
            r"train/ has 2 classes, test/ has 1; only in train/: y; only in test/: none",
        ),
    ],
)
def test_wrong_layout_is_told_in_one_line(
    run_prepare: Prepare, tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    root = write_files(tmp_path / "own", files)
    with pytest.raises(UserError, match=message) as raised:
        run_prepare("imagefolder", path=root)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "data").exists()


def test_absent_folder_is_named(run_prepare: Prepare, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.path=.*nowhere is not there"):
        run_prepare("imagefolder", path=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"'imagefolder' needs data.path=FOLDER: make FOLDER/train"):
        run_prepare("imagefolder")


def test_broken_link_is_named(run_prepare: Prepare, tmp_path: Path) -> None:
    root = split_folder(tmp_path / "own")
    (root / "train" / "a" / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(UserError, match=r"link.jpg is a link to a file that does not exist"):
        run_prepare("imagefolder", path=root)


def test_damaged_or_vanished_image_is_named_when_it_is_read(run_prepare: Prepare, tmp_path: Path) -> None:
    root = split_folder(tmp_path / "own")
    (root / "train" / "a" / "0.jpg").write_bytes(IMAGE[:200])
    train = load_images(run_prepare("imagefolder", path=root), "train")
    with pytest.raises(UserError, match=r"train/a/0.jpg cannot be decoded"):
        train.image(0)
    (root / "train" / "a" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"train/a/1.jpg is gone"):
        train.image(1)


def test_imagenet_counts_classes_and_says_when_it_is_a_part(run_prepare: Prepare, tmp_path: Path) -> None:
    root = split_folder(tmp_path / "ilsvrc", test="val")
    manifest = read_manifest(run_prepare("imagenet", path=root))
    assert manifest.splits["test"].per_class == {"a": 1, "b": 1}
    assert "Not the complete set" in manifest.note
    assert manifest.root == str(root)


def test_imagenet_without_a_folder_says_how_to_get_it(run_prepare: Prepare) -> None:
    with pytest.raises(UserError, match=r"needs data.path=FOLDER: register at image-net.org"):
        run_prepare("imagenet")


def test_imagenet_layout_errors_say_what_to_do(run_prepare: Prepare, tmp_path: Path) -> None:
    root = split_folder(tmp_path / "ilsvrc", test="val")
    shutil.rmtree(root / "val" / "a")
    with pytest.raises(UserError, match=r"train/ has 2 classes, val/ has 1; only in train/: a"):
        run_prepare("imagenet", path=root)
    shutil.rmtree(root / "val")
    with pytest.raises(UserError, match=r"has no val/: ImageNet needs"):
        run_prepare("imagenet", path=root)
    write_files(root, {"val/ILSVRC2012_val_00000001.JPEG": IMAGE})
    with pytest.raises(UserError, match=r"holds 1 images in one flat folder .* ILSVRC2012_devkit_t12.tar.gz"):
        run_prepare("imagenet", path=root)
    (root / "ILSVRC" / "Data" / "CLS-LOC").mkdir(parents=True)
    with pytest.raises(UserError, match=r"pass data.path=.*CLS-LOC"):
        run_prepare("imagenet", path=root)


def test_preparation_never_replaces_what_it_did_not_write(run_prepare: Prepare, tmp_path: Path) -> None:
    own = split_folder(tmp_path / "data" / "imagefolder")
    before = tree(own)
    with pytest.raises(UserError, match=r"overlaps data.path"):
        run_prepare("imagefolder", path=own)
    with pytest.raises(UserError, match=r"imagefolder holds 'test', which preparation did not put there"):
        run_prepare("imagefolder", path=split_folder(tmp_path / "other"))
    with pytest.raises(UserError, match=r"overlaps data.path"):
        run_prepare("imagefolder", path=tmp_path)
    assert tree(own) == before


def test_folder_made_ahead_by_the_workflow_is_filled(run_prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "data" / "imagefolder").mkdir(parents=True)
    assert len(load_images(run_prepare("imagefolder", path=split_folder(tmp_path / "own")), "train")) == 4


def test_a_workflow_that_removed_its_output_can_prepare_again(run_prepare: Prepare, tmp_path: Path) -> None:
    own = split_folder(tmp_path / "own")
    folder = run_prepare("imagefolder", path=own)
    (folder / "manifest.json").unlink()  # as Snakemake does before it repeats a job
    assert len(load_images(run_prepare("imagefolder", path=own), "train")) == 4
    (folder / "manifest.json").unlink()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds 'notes.txt', which preparation did not put there"):
        run_prepare("imagefolder", path=own)


def test_unprepared_folder_says_which_command_prepares_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python -m data2vec prepare data=cifar10 data_dir="):
        load_images(tmp_path / "cifar10", "train")
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "manifest.json").write_text('{"name": "cifar10"')
    with pytest.raises(UserError, match="is not a manifest"):
        load_images(tmp_path / "cifar10", "train")


def test_real_clothing_photographs(run_prepare: Prepare, real_mirror: Path) -> None:
    folder = run_prepare("clothing-validation", mirror=real_mirror)
    train, test = load_images(folder, "train"), load_images(folder, "test")
    assert len(train) + len(test) == 186
    assert len(train.classes) == 10
    assert min(train.image(0).shape[1:]) == 224
    before = tree(folder)
    run_prepare("clothing-validation", mirror=real_mirror)
    assert tree(folder) == before
