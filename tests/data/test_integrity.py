"""Checksums, disk space, and folders that appear whole or not at all."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from data2vec.data.integrity import atomic_directory, check_digest, require_space
from data2vec.errors import UserError


def dead_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_checksum_that_fits_passes_and_any_other_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")
    for algorithm in ("sha256", "md5"):
        check_digest(file, f"{algorithm}:{hashlib.new(algorithm, b'abc').hexdigest()}")
    with pytest.raises(UserError, match=r"a\.bin is not the expected file: its sha256 is ba78.*, expected 0000"):
        check_digest(file, "sha256:0000")


def test_no_disk_space_names_bytes_needed_and_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_234))
    with pytest.raises(UserError, match=r"unpacking x: 5,000 bytes needed, 1,234 bytes free"):
        require_space(tmp_path / "not" / "yet", 5_000, "unpacking x")
    require_space(tmp_path, 1_234, "unpacking x")


def test_directory_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "set"
    with atomic_directory(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert [p.name for p in target.iterdir()] == ["a"]
    assert [p.name for p in target.parent.iterdir()] == ["set"]


def test_failure_leaves_the_old_directory_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "set"
    target.mkdir()
    (target / "old").write_text("1")
    with pytest.raises(RuntimeError, match="halfway"), atomic_directory(target) as folder:
        (folder / "new").write_text("2")
        raise RuntimeError("halfway")
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert [p.name for p in target.iterdir()] == ["old"]


def test_success_replaces_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "set"
    target.mkdir()
    (target / "old").write_text("1")
    with atomic_directory(target) as folder:
        (folder / "new").write_text("2")
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert [p.name for p in target.iterdir()] == ["new"]


def test_partial_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    stale = tmp_path / f"set.partial-{dead_pid()}"
    alive = tmp_path / f"set.partial-{os.getppid()}"
    other = tmp_path / f"other.partial-{dead_pid()}"
    for folder in (stale, alive, other):
        folder.mkdir()
        (folder / "half").write_text("x")
    with atomic_directory(tmp_path / "set"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([alive.name, other.name, "set"])


def test_old_data_survives_a_kill_between_the_two_renames(tmp_path: Path) -> None:
    old = tmp_path / f"set.old-{dead_pid()}"
    old.mkdir()
    (old / "good").write_text("x")
    with pytest.raises(RuntimeError, match="stop"), atomic_directory(tmp_path / "set"):
        raise RuntimeError("stop")
    assert (tmp_path / "set" / "good").read_text() == "x"


def test_full_disk_and_forbidden_folder_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="disk filled up"), atomic_directory(tmp_path / "set"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(UserError, match="cannot write"), atomic_directory(tmp_path / "set"):
        raise PermissionError(errno.EACCES, "Permission denied", "somewhere")
    assert not list(tmp_path.iterdir())
