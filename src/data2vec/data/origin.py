"""What the table of data sets says about each: where it comes from, its licence, and how to get it by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GIB = 2**30


@dataclass(frozen=True)
class Download:
    """One official archive: its file name, addresses (tried in turn), size and checksum."""

    file: str
    urls: tuple[str, ...]
    size: int
    checksum: str | None
    """`<algorithm>:<hex>`, or None where no trustworthy value is known (the manifest then says so)."""


@dataclass(frozen=True)
class MirrorCopy:
    """The form a set has in a `data_mirror`: `<mirror>/<folder>/<file>`, beside a DATASET.yaml.

    DATASET.yaml is the authority on checksums; those given here only serve a mirror that has lost it.
    """

    folder: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Source:
    """One data set.

    `kind`: "embedded" ships with a library, "packed" comes as archives and is packed into arrays, "folder"
    stays as image files (unpacked from the mirror's archive, or where `data.path` says), "sentences" are labelled.
    """

    name: str
    modality: Literal["vision", "speech", "text"]
    kind: Literal["embedded", "packed", "folder", "sentences"]
    title: str
    licence: str
    citation: str
    by_hand: str
    download: Download | None = None
    mirror: MirrorCopy | None = None
    archives: tuple[tuple[str, str], ...] = ()
    """Official archives and checksums of a set in parts, any of which may lie in `data.path` or the mirror."""
    items: tuple[tuple[str, int], ...] = ()
    """Items per split of the complete official set, checked after a download."""
    note: str = ""
    unpacked_limit: int = 4 * GIB
    """Bytes: an archive that unpacks to more than this is refused."""
