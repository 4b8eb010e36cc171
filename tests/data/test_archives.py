"""Archives: nothing lands outside, nothing damaged or oversized passes."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from data2vec.data.archives import extract, read_members
from data2vec.errors import UserError

from .made_data import write_archive

FILES = {"set/a.txt": b"alpha" * 1000, "set/sub/b.txt": b"beta"}
ENDINGS = (".tar", ".tar.gz", ".tar.xz", ".zip")


@pytest.mark.parametrize("ending", ENDINGS)
def test_archive_gives_back_what_went_in(tmp_path: Path, ending: str) -> None:
    archive = write_archive(tmp_path / f"x{ending}", FILES)
    assert dict(read_members(archive, limit=10_000)) == FILES
    (tmp_path / "out").mkdir()
    extract(archive, tmp_path / "out", limit=10_000)
    assert {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*.txt")} == FILES


def test_a_folder_reads_like_an_archive(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.txt").write_bytes(b"alpha")
    assert list(read_members(tmp_path / "set", limit=10)) == [("set/a.txt", b"alpha")]


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:/evil.txt", "..\\evil.txt"])
def test_archive_cannot_write_outside_the_folder(tmp_path: Path, ending: str, name: str) -> None:
    archive = write_archive(tmp_path / f"x{ending}", {"fine.txt": b"1", name: b"evil"})
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="outside the folder"):
        extract(archive, tmp_path / "out", limit=1000)
    assert not list((tmp_path / "out").iterdir())
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tar_with_link_or_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("trap")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(UserError, match="link or device, 'trap'"):
        extract(tmp_path / "x.tar", tmp_path, limit=1000)


def test_zip_with_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("trap")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="link or device"):
        list(read_members(tmp_path / "x.zip", limit=1000))


@pytest.mark.parametrize("ending", ENDINGS)
def test_archive_bomb_is_refused(tmp_path: Path, ending: str) -> None:
    archive = write_archive(tmp_path / f"x{ending}", {"bomb": bytes(100_000)})
    with pytest.raises(UserError, match="more than 50,000 bytes"):
        extract(archive, tmp_path, limit=50_000)
    assert not (tmp_path / "bomb").exists()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_truncated_archive_is_named(tmp_path: Path, ending: str, share: float) -> None:
    noise = {f"{n}.bin": bytes((n * i * i + i) % 251 for i in range(3000)) for n in range(5)}
    archive = write_archive(tmp_path / f"x{ending}", noise)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=rf"x{ending} is damaged or cut short"):
        list(read_members(archive, limit=10**6))


def test_flipped_byte_in_zip_is_noticed(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "x.zip", {"a": b"content"})
    archive.write_bytes(archive.read_bytes().replace(b"content", b"contend", 1))
    with pytest.raises(UserError, match="damaged"):
        list(read_members(archive, limit=1000))


def test_unknown_kind_of_archive_says_which_are_known(tmp_path: Path) -> None:
    (tmp_path / "x.rar").write_bytes(b"Rar!")
    with pytest.raises(UserError, match=r"\.tar\.xz"):
        list(read_members(tmp_path / "x.rar", limit=1000))


def test_only_wanted_members_are_read(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "x.tar.gz", FILES)
    assert [name for name, _ in read_members(archive, 10_000, lambda name: "sub" in name)] == ["set/sub/b.txt"]
    assert io.BytesIO(dict(read_members(archive, 10_000))["set/a.txt"]).read(5) == b"alpha"
