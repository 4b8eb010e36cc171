"""Checks and guards around files: checksums, room on the disk, folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from data2vec.errors import UserError

log = logging.getLogger(__name__)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def check_digest(path: Path, checksum: str) -> None:
    """Compare a file with `<algorithm>:<hex>`.

    Raises:
        UserError: the file is not the expected one.
    """
    algorithm, _, expected = checksum.partition(":")
    found = file_digest(path, algorithm)
    if found != expected.lower():
        raise UserError(
            f"{path} is not the expected file: its {algorithm} is {found}, expected {expected}. "
            "It is damaged, cut short or another version: fetch it again"
        )


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Refuse to begin when the disk of `folder` (which need not exist yet) has under `needed` bytes free.

    Raises:
        UserError: with the bytes needed and the bytes free.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"not enough disk space in {existing} for {purpose}: {needed:,} bytes needed, {free:,} bytes "
            "free. Free some, or choose another data_dir="
        )


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """A new folder `<name>.partial-<pid>` to fill; it takes the place of `target` only if the block succeeds.

    On any failure the partial folder is removed and what stood at `target` stays as it was. Leftovers of
    processes that were killed are removed first.

    Raises:
        UserError: the disk filled up, or the place cannot be written to.
    """
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        partial.mkdir()
        yield partial
        _flush(partial)
        _swap(partial, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"the disk filled up while writing {target}; nothing was left there") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError(f"cannot write {error.filename or target}: {error.strerror}") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        # Only the top level: image files further down can be unpacked again, arrays and tables are ours.
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _swap(partial: Path, target: Path) -> None:
    """Put `partial` in the place of `target`; a full directory cannot be replaced in one call."""
    old = target.with_name(f"{target.name}.old-{os.getpid()}")
    if target.exists() and any(target.iterdir()):
        os.rename(target, old)
    try:
        os.replace(partial, target)
    except OSError:
        if old.exists():
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(target: Path) -> None:
    for kind in ("old", "partial"):
        for path in target.parent.glob(f"{target.name}.{kind}-*"):
            pid = path.name.rpartition("-")[2]
            if not pid.isdigit() or _is_running(int(pid)):
                continue
            if kind == "old" and not target.exists():
                os.rename(path, target)  # killed between the two renames: the old data is still good
                continue
            log.info("removing %s, left by an unfinished process", path)
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    """Whether another process has this id (our own id in a leftover is a recycled one)."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
