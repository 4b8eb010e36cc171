"""Reading and unpacking tar and zip archives that nobody vouches for.

Only plain files and folders whose names stay inside the destination are accepted; links and devices are
refused outright, since no data set needs them. Sizes are added up against a stated limit while reading.
"""

from __future__ import annotations

import contextlib
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data2vec.data.integrity import require_space
from data2vec.errors import UserError

MAX_MEMBERS = 5_000_000


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def read_members(
    path: Path, limit: int, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, bytes]]:
    """Name and content of every wanted file of an archive, or of a folder of the same layout.

    `limit` is the largest total size in bytes, unwanted files included.

    Raises:
        UserError: the archive is damaged, unsafe or unpacks to more than `limit`.
    """
    for member in _checked(path, limit):
        if wanted(member.name):
            with _damage_named(path), member.open() as stream:
                content = stream.read()
            yield member.name, content


def member_names(path: Path, limit: int) -> list[str]:
    """Names of all files of an archive, or of a folder of the same layout.

    Raises:
        UserError: the archive is damaged, unsafe or unpacks to more than `limit` bytes.
    """
    return [member.name for member in _checked(path, limit)]


def extract(archive: Path, folder: Path, limit: int) -> None:
    """Unpack an archive into an existing folder, after checking that all of it is acceptable and fits.

    Raises:
        UserError: the archive is damaged, unsafe or unpacks to more than `limit` bytes or the free space.
    """
    total = sum(member.size for member in _checked(archive, limit))
    require_space(folder, total, f"unpacking {archive.name}")
    for member in _checked(archive, limit):
        destination = folder / member.name
        with _damage_named(archive):
            destination.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as stream, destination.open("wb") as out:
                shutil.copyfileobj(stream, out)


def _checked(path: Path, limit: int) -> Iterator[_Member]:
    total = 0
    for count, member in enumerate(_members(path), start=1):
        total += member.size
        if total > limit or count > MAX_MEMBERS:
            raise UserError(
                f"{path} unpacks to more than {limit:,} bytes or {MAX_MEMBERS:,} files, the most that is "
                "accepted for this data set: it is not the archive it should be"
            )
        yield member


def _members(path: Path) -> Iterator[_Member]:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            name = f"{path.name}/{file.relative_to(path).as_posix()}"
            yield _Member(name, file.stat().st_size, lambda file=file: file.open("rb"))  # type: ignore[misc]
        return
    if path.name.endswith(".zip"):
        members = _zip_members
    elif re.search(r"\.(tar(\.(gz|xz|bz2))?|tgz|txz)$", path.name):
        members = _tar_members
    else:
        raise UserError(f"{path} is not an archive known here: .tar, .tar.gz, .tar.xz, .tar.bz2 or .zip")
    with _damage_named(path):
        yield from members(path)


def _tar_members(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r:*") as archive:
        for info in archive:
            _check_name(info.name, path)
            if info.isdir():
                continue
            if not info.isreg():
                raise UserError(f"{path} holds a link or device, {info.name!r}: refused, nothing was unpacked")

            def content(info: tarfile.TarInfo = info) -> IO[bytes]:
                stream = archive.extractfile(info)
                assert stream is not None  # always so for a regular file
                return stream

            yield _Member(info.name, info.size, content)
        # A tar cut exactly between two files reads like a whole one, but for the block of zeros at its end.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end-of-archive mark")


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            _check_name(info.filename, path)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{path} holds a link or device, {info.filename!r}: refused, nothing was unpacked")
            if not info.is_dir():
                yield _Member(info.filename, info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]


def _check_name(name: str, path: Path) -> None:
    parts = re.split(r"[\\/]", name)
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise UserError(
            f"{path} holds a file that would land outside the folder, {name!r}: refused, nothing was unpacked"
        )


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn the many ways in which a broken archive fails to read into one message with its name."""
    # RuntimeError: an encrypted zip.
    broken = (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        lzma.LZMAError,
        zlib.error,
        OSError,
        RuntimeError,
    )
    try:
        yield
    except broken as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, not the archive's
        raise UserError(f"{path} is damaged or cut short ({error}): fetch it again") from error
