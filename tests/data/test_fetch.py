"""Where originals come from: path, mirror, downloads, network; what is missing is named with its remedy."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from data2vec.data import fetch
from data2vec.data.fetch import download_originals, find_originals
from data2vec.data.sources import SOURCES, Download, Source, find_source
from data2vec.errors import UserError

CIFAR = SOURCES["cifar10"]
ARCHIVE = "cifar-10-python.tar.gz"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without writing a line per request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the local address that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def source_at(*urls: str, content: bytes = b"data") -> Source:
    """CIFAR-10 as if it were this content at these addresses."""
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return replace(CIFAR, download=Download(ARCHIVE, urls, len(content), checksum))


def mirror_with(folder: Path, described: dict | None) -> Path:
    """A mirror whose CIFAR-10 files hold their own names, described as given."""
    copy = folder / "cifar10"
    copy.mkdir(parents=True)
    for name in ("cifar10-train.tar.xz", "cifar10-test.tar.xz"):
        (copy / name).write_bytes(name.encode())
    if described is not None:
        (copy / "DATASET.yaml").write_text(yaml.safe_dump(described))
    return folder


def test_unknown_data_set_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"data.name='cifar100', did you mean 'cifar10'"):
        find_source("cifar100")
    with pytest.raises(UserError, match=r"Known: an4, .*data.name=imagefolder data.path="):
        find_source("zzz")


def test_every_source_names_licence_and_way_by_hand() -> None:
    for name, source in SOURCES.items():
        assert name == source.name
        assert source.licence
        assert source.by_hand


def test_download_is_checked_and_kept(tmp_path: Path, served: tuple[Path, str]) -> None:
    folder, address = served
    (folder / "good").write_bytes(b"data")
    found = download_originals(source_at(f"{address}/good"), None, tmp_path / "data", offline=False)
    assert found.files == (tmp_path / "data" / "downloads" / ARCHIVE,)
    assert found.files[0].read_bytes() == b"data"
    again = find_originals(source_at(f"{address}/good"), None, None, tmp_path / "data")
    assert again is not None
    assert again.files == found.files


def test_second_address_is_tried(tmp_path: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, address = served
    monkeypatch.setattr(fetch, "RETRIES", 0)
    (folder / "good").write_bytes(b"data")
    source = source_at(f"{address}/gone", f"{address}/good")
    assert download_originals(source, None, tmp_path, offline=False).files[0].read_bytes() == b"data"


def test_wrong_download_leaves_nothing(
    tmp_path: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    monkeypatch.setattr(fetch, "RETRIES", 0)
    (folder / "bad").write_bytes(b"another")
    with pytest.raises(UserError, match=rf"could not download {ARCHIVE} \(http.*SHA256.*put it at .*downloads"):
        download_originals(source_at(f"{address}/bad"), None, tmp_path / "data", offline=False)
    assert not list((tmp_path / "data" / "downloads").iterdir())


def test_no_network_names_file_address_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RETRIES", 0)
    with pytest.raises(UserError, match=rf"could not download {ARCHIVE} \(http://127.0.0.1:9/x: .*data_mirror="):
        download_originals(source_at("http://127.0.0.1:9/x"), None, tmp_path, offline=False)
    with pytest.raises(UserError, match=rf"{ARCHIVE} is missing and this run is offline. .*https://www.cs.toronto"):
        download_originals(CIFAR, None, tmp_path, offline=True)


def test_mirror_without_the_set_forbids_downloading(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds no 'cifar10' \(looked for cifar10/cifar-10-python.tar.gz, cifar10/cifar"
    ):
        download_originals(CIFAR, tmp_path, tmp_path / "data", offline=False)


def test_absent_mirror_and_absent_path_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data_mirror=.*nowhere is not a folder"):
        find_originals(CIFAR, None, tmp_path / "nowhere", tmp_path)
    with pytest.raises(UserError, match=r"data.path=.*nowhere does not exist"):
        find_originals(CIFAR, tmp_path / "nowhere", None, tmp_path)


def test_mirror_description_is_the_authority_on_checksums(tmp_path: Path) -> None:
    names = ("cifar10-train.tar.xz", "cifar10-test.tar.xz")
    files = [{"file": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in names]
    described = {"name": "Ten", "conversion": "LOSSY.", "files": files, "splits": {"train": {"images": 3}}}
    found = find_originals(CIFAR, None, mirror_with(tmp_path / "m", described), tmp_path)
    assert found is not None
    found.check()
    assert found.items == (("train", 3),)
    assert found.note == "Ten. LOSSY."

    files[0]["sha256"] = "0" * 64
    found = find_originals(CIFAR, None, mirror_with(tmp_path / "n", described), tmp_path)
    assert found is not None
    with pytest.raises(UserError, match=r"cifar10-train.tar.xz is not the expected file"):
        found.check()


def test_mirror_without_description_falls_back_to_known_checksums(tmp_path: Path) -> None:
    found = find_originals(CIFAR, None, mirror_with(tmp_path, None), tmp_path)
    assert found is not None
    with pytest.raises(UserError, match="is not the expected file"):
        found.check()


def test_mirror_with_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    mirror = mirror_with(tmp_path, {})
    (mirror / "cifar10" / "DATASET.yaml").write_text("files: 3")
    with pytest.raises(UserError, match=r"DATASET.yaml cannot be read"):
        find_originals(CIFAR, None, mirror, tmp_path)
    (mirror / "cifar10" / "DATASET.yaml").unlink()
    (mirror / "cifar10" / "cifar10-test.tar.xz").unlink()
    with pytest.raises(UserError, match=r"lacks cifar10-test.tar.xz"):
        find_originals(CIFAR, None, mirror, tmp_path)


def test_official_archive_in_a_mirror_comes_before_a_converted_one(tmp_path: Path) -> None:
    mirror = mirror_with(tmp_path, {})
    (mirror / "cifar10" / ARCHIVE).write_bytes(b"x")
    found = find_originals(CIFAR, None, mirror, tmp_path)
    assert found is not None
    assert [file.name for file in found.files] == [ARCHIVE]


def test_missing_checksum_is_said(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / ARCHIVE).write_bytes(b"x")
    source = replace(CIFAR, download=Download(ARCHIVE, ("http://127.0.0.1:9/x",), 1, None))
    found = find_originals(source, None, None, tmp_path)
    assert found is not None
    assert "No checksum is known" in found.note
