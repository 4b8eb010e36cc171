"""Finding the original files of a data set: `data.path`, the mirror, earlier downloads, the network.

Whatever is found is checked against a checksum before it is used. The mirror is only ever read.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests
import yaml

from data2vec.data.integrity import check_digest, require_space
from data2vec.data.sources import Download, Source
from data2vec.errors import UserError

log = logging.getLogger(__name__)

DOWNLOADS = "downloads"
RETRIES = 3


@dataclass(frozen=True)
class Originals:
    """The files a data set is made from; nothing has been read from them yet."""

    origin: str
    """"mirror", "download" or "folder" (the user's own)."""
    files: tuple[Path, ...]
    checksums: tuple[str | None, ...]
    items: tuple[tuple[str, int], ...] = ()
    """Items per split that must come out, where known."""
    note: str = ""

    def check(self) -> None:
        """Raises UserError unless every file with a known checksum has it."""
        for file, checksum in zip(self.files, self.checksums, strict=True):
            if checksum is not None:
                check_digest(file, checksum)

    def fingerprint(self) -> str:
        """Says which files these are without reading them: names and checksums, or sizes without one."""
        parts = [
            f"{file.name}\0{checksum or _listing(file)}"
            for file, checksum in zip(self.files, self.checksums, strict=True)
        ]
        return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()


def find_originals(source: Source, path: Path | None, mirror: Path | None, data_dir: Path) -> Originals | None:
    """What is there without the network, in this order: `path`, the mirror, earlier downloads.

    None if nothing is.

    Raises:
        UserError: `path` or `mirror` is given but is not there, or the mirror's copy lacks a file.
    """
    if mirror is not None and not mirror.is_dir():
        raise UserError(f"data_mirror={mirror} is not a folder")
    if path is not None:
        return _from_path(source, path)
    if mirror is not None and (found := _from_mirror(source, mirror)):
        return found
    if source.download and (archive := data_dir / DOWNLOADS / source.download.file).is_file():
        return _official(source, source.download, archive, "download")
    return None


def download_originals(source: Source, mirror: Path | None, data_dir: Path, offline: bool) -> Originals:
    """Fetch the official archive into `<data_dir>/downloads`.

    Raises:
        UserError: not allowed (offline, or a mirror is given), or every address failed; it names the file,
            the address and where to put the file by hand.
    """
    wanted = source.download
    folder = data_dir / DOWNLOADS
    if wanted is None:
        places = f" or pass data_mirror= with {source.mirror.folder}/ in it" if source.mirror else ""
        raise UserError(f"data set {source.name!r} is not here: {source.by_hand}, then pass data.path=FOLDER{places}")
    by_hand = (
        f"Fetch {wanted.file} from {wanted.urls[0]} by hand and put it at {folder / wanted.file}, "
        f"or at {source.name}/{wanted.file} in a folder passed as data_mirror="
    )
    if mirror is not None:
        raise UserError(
            f"data_mirror={mirror} holds no {source.name!r} (looked for {', '.join(_mirror_places(source))}) "
            f"and with a mirror nothing is downloaded. Leave data_mirror out to download. {by_hand}"
        )
    if offline:
        raise UserError(f"{wanted.file} is missing and this run is offline. {by_hand}")
    require_space(folder, wanted.size, f"downloading {wanted.file}")
    failures = []
    for url in wanted.urls:
        log.info("downloading %s (%.0f MB)", url, wanted.size / 1e6)
        try:
            _retrieve(wanted, url, folder)
        except (requests.RequestException, ValueError, OSError) as error:
            failures.append(f"{url}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            continue
        return _official(source, wanted, folder / wanted.file, "download")
    raise UserError(f"could not download {wanted.file} ({'; '.join(failures)}). {by_hand}")


def _retrieve(wanted: Download, url: str, folder: Path) -> None:
    store = pooch.create(
        path=folder,
        base_url="",
        registry={wanted.file: wanted.checksum},
        urls={wanted.file: url},
        retry_if_failed=RETRIES,
    )
    bar = sys.stderr.isatty()
    store.fetch(wanted.file, downloader=pooch.HTTPDownloader(progressbar=bar, timeout=60))


def _official(source: Source, wanted: Download, archive: Path, origin: str) -> Originals:
    note = "" if wanted.checksum else f"No checksum is known for {wanted.file}; it was not verified."
    return Originals(origin, (archive,), (wanted.checksum,), source.items, note)


def _from_path(source: Source, path: Path) -> Originals:
    if not path.exists():
        raise UserError(f"data.path={path} does not exist; for {source.name}: {source.by_hand}")
    if parts := _parts(source, path, "folder"):
        return parts
    if source.download:
        for archive in (path, path / source.download.file):
            if archive.is_file() and archive.name == source.download.file:
                return _official(source, source.download, archive, "folder")
    return Originals("folder", (path,), (None,), (), f"From {path.name}, not verified against a checksum.")


def _mirror_places(source: Source) -> list[str]:
    places = [f"{source.name}/{source.download.file}"] if source.download else []
    if source.mirror:
        places += [f"{source.mirror.folder}/{file}" for file, _ in source.mirror.files]
    return places


def _parts(source: Source, folder: Path, origin: str) -> Originals | None:
    """Those official archives of a set in parts that `folder` holds."""
    there = [(folder / file, checksum) for file, checksum in source.archives if (folder / file).is_file()]
    if not there:
        return None
    files, checksums = zip(*there, strict=True)
    return Originals(origin, files, checksums)


def _from_mirror(source: Source, mirror: Path) -> Originals | None:
    if parts := _parts(source, mirror / source.name, "mirror"):
        return parts
    if source.download and (archive := mirror / source.name / source.download.file).is_file():
        return _official(source, source.download, archive, "mirror")
    if source.mirror is None or not (folder := mirror / source.mirror.folder).is_dir():
        return None
    described = _description(folder)
    stated = {entry["file"]: f"sha256:{entry['sha256']}" for entry in described.get("files", ())}
    files, checksums = [], []
    for name, fallback in source.mirror.files:
        if not (folder / name).is_file():
            raise UserError(f"the mirror's {folder} lacks {name}: copy it there, or leave data_mirror out to download")
        files.append(folder / name)
        checksums.append(stated.get(name, fallback))
    note = " ".join(f"{str(described[key]).rstrip('.')}." for key in ("name", "conversion") if key in described)
    return Originals("mirror", tuple(files), tuple(checksums), _split_items(described), note)


def _description(folder: Path) -> dict[str, Any]:
    path = folder / "DATASET.yaml"
    if not path.is_file():
        return {}
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
        checked = [(entry["file"], entry["sha256"]) for entry in described.get("files", ())]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    log.debug("%s states %d checksums", path, len(checked))
    return dict(described)


def _split_items(described: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    """Images per split as prepared here, where the official val is called test."""
    splits = described.get("splits") or {}
    counts = {
        split: int(entry["images"]) for split, entry in splits.items() if isinstance(entry, dict) and "images" in entry
    }
    return tuple(("test" if split == "val" else split, count) for split, count in counts.items())


def _listing(path: Path) -> str:
    """Names and sizes of everything under a folder (or the size of one file), as text."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return "\n".join(f"{p.relative_to(path)}\0{p.stat().st_size}" for p in files)
