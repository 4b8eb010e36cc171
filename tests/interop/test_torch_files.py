"""Reading PyTorch files: equal to torch.load on honest ones; hostile and broken ones are refused, nothing happens."""

import argparse
import collections
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from data2vec.cli import main
from data2vec.errors import UserError
from data2vec.interop.pickles import MAX_DEPTH, PickleRefused, measure, read_pickle
from data2vec.interop.torch_files import StoredTensor, TorchFile, plain


def tensors() -> dict[str, torch.Tensor]:
    whole = torch.arange(24.0).view(2, 3, 4)
    kinds = [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.uint8]
    found = {str(kind): torch.arange(5).to(kind) for kind in kinds}
    return found | {
        "part": whole[1, :, 1:3],
        "transposed": whole.transpose(0, 2),
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 4),
        "bool": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "whole": whole,
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_are_those_of_torch(protocol: int, tmp_path: Path) -> None:
    torch.save({"model": tensors()}, tmp_path / "x.pt", pickle_protocol=protocol)
    found = TorchFile(tmp_path / "x.pt").content["model"]
    for name, expected in tensors().items():
        read = found[name].read()
        assert torch.equal(read, expected.detach()) and read.dtype == expected.dtype, name
        assert found[name].shape == tuple(expected.shape)


def test_configurations_become_plain_data(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    nested = {"model": {"_name": "x", "list": [1, 2.5, None], "inner": {"flag": True}}}
    content = {
        "cfg": OmegaConf.create(nested),
        "args": argparse.Namespace(width=3, names=["a"], inner=argparse.Namespace(k=1)),
        "counts": collections.Counter("aab"),
        "order": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, {"k": [1]}),
        "large": 2**70,
        "set": {1, 2},
    }
    torch.save(content, tmp_path / "x.pt")
    found = TorchFile(tmp_path / "x.pt").content
    assert plain(found["cfg"]) == nested
    assert plain(found["args"]) == {"width": 3, "names": ["a"], "inner": {"k": 1}}
    assert found["order"] == {"a": 1} and found["default"] == {"k": [1]}
    assert found["large"] == 2**70 and plain(found["set"]) == [1, 2]


def test_tensors_are_read_only_when_asked_for(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3), "b": torch.ones(4)}, tmp_path / "x.pt")
    file = TorchFile(tmp_path / "x.pt")
    assert isinstance(file.content["a"], StoredTensor) and not file._blocks
    file.content["a"].read()
    assert len(file._blocks) == 1


# ---- hostile files


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def archive(path: Path, content: bytes, *more: tuple[str, bytes], compress: int = zipfile.ZIP_STORED) -> Path:
    """A file like torch's with this pickle."""
    with zipfile.ZipFile(path, "w", compress) as file:
        for name, data in (("x/data.pkl", content), ("x/byteorder", b"little"), *more):
            file.writestr(name, data)
    return path


def raw(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls MODULE.NAME(argument), which need not exist here."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def tensor_pickle(size: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, key: str = "0") -> bytes:
    """A pickle of one tensor of float32 numbers in block `key` of so many."""

    class Storage:
        pass

    class Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, key, "cpu", size) if isinstance(value, Storage) else None

    buffer = io.BytesIO()
    ordered: Any = collections.OrderedDict()
    rebuild = Calls(torch._utils._rebuild_tensor_v2, Storage(), offset, shape, stride, False, ordered)
    Pickler(buffer, 2).dump({"model": {"w": rebuild}})
    return buffer.getvalue()


BLOCK = ("x/data/0", struct.pack("<4f", 1, 2, 3, 4))
GOOD = pickle.dumps({"model": {}}, 2)


def nested(levels: int) -> bytes:
    return b"\x80\x02" + b"]" * levels + b"a" * (levels - 1) + b"."


def doubled(times: int) -> bytes:
    """A list of two lists that are one, of two lists that are one, ...: 2**times values in a few bytes."""
    return b"\x80\x02]q\x00" + b"".join(b"]q\x01h\x00ah\x00aq\x00" for _ in range(times)) + b"."


HOSTILE: dict[str, Any] = {
    "os.system": pickle.dumps(Calls(os.system, "touch executed"), 2),
    "os.system, newest protocol": pickle.dumps(Calls(os.system, "touch executed"), 5),
    "posix.system by name": raw("posix", "system", "touch executed"),
    "eval": pickle.dumps(Calls(eval, "open('executed', 'w')"), 2),
    "exec": raw("builtins", "exec", "open('executed', 'w')"),
    "old name of builtins": raw("__builtin__", "eval", "open('executed', 'w')"),
    "getattr": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system"), 2),
    "import": pickle.dumps(Calls(__import__, "antigravity"), 2),
    "within the weights": pickle.dumps({"model": {"w": Calls(os.system, "touch executed")}}, 2),
    "through a dotted name": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93\x8c\x0etouch executed\x85R.",
    "a loader of torch": raw("torch", "load", "executed"),
    "the extension registry": b"\x80\x02\x82\x01.",
    "a persistent id that is text": b"Pexecuted\n.",
    "nested containers": nested(20_000),
    "nested tuples": b"\x80\x02)" + b"\x85" * 20_000 + b".",
    "doubled containers": doubled(60),
    "a container of itself": b"\x80\x02]q\x00h\x00a.",
    "a key of nested tuples": b"\x80\x02})" + b"\x85" * 20_000 + b"K\x01s.",
    "a list as key": b"\x80\x02}]K\x01s.",
    "values left over": b"\x80\x02K\x01K\x02.",
    "no end": GOOD[:-1],
    "empty stack": b"\x80\x02a.",
    "a mark as value": b"\x80\x02(.",
    "memo that was never set": b"\x80\x02h\x07.",
    "a long text cut short": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "an enormous memo": b"\x80\x02Nr\xff\xff\xff\xff]q\x00.",
    "attributes of a name": b"\x80\x02cargparse\nNamespace\n}X\x01\x00\x00\x00aK\x01sb.",
    "no pickle": b"just text",
    "nothing": b"",
}


@pytest.mark.parametrize("name", [*HOSTILE])
def test_a_hostile_pickle_is_refused_and_nothing_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    archive(tmp_path / "x.pt", HOSTILE[name])
    check_refused(tmp_path, "x.pt", capsys)


def check_refused(folder: Path, file: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The command ends in one line and exit code 2, and leaves the folder as it was."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["import", f"file={folder / file}", f"run_dir={folder / 'run'}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("error: ") and str(folder / file) in said, said
    assert len(said) < 600, said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    return said


def test_the_refusal_names_what_the_file_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive(tmp_path / "x.pt", HOSTILE["os.system"])
    said = check_refused(tmp_path, "x.pt", capsys)
    assert f"{os.system.__module__}.system" in said and "nothing was run" in said


TENSORS = {
    "more numbers than its block": tensor_pickle(4, (5,), (1,)),
    "an offset beyond its block": tensor_pickle(4, (2,), (1,), offset=3),
    "a stride beyond its block": tensor_pickle(4, (2, 2), (4, 1)),
    "a stride of 0 that makes it huge": tensor_pickle(4, (1 << 40,), (0,)),
    "a negative stride": tensor_pickle(4, (2,), (-1,)),
    "a negative shape": tensor_pickle(4, (-2,), (1,)),
    "a negative offset": tensor_pickle(4, (2,), (1,), offset=-1),
    "fewer strides than axes": tensor_pickle(4, (2, 2), (1,)),
    "a block larger than the archive's": tensor_pickle(1 << 40, (4,), (1,)),
    "a block smaller than the archive's": tensor_pickle(2, (2,), (1,)),
    "a block that is not there": tensor_pickle(4, (4,), (1,), key="7"),
    "a block outside of the data": tensor_pickle(4, (4,), (1,), key="../byteorder"),
}


@pytest.mark.parametrize("name", [*TENSORS])
def test_a_tensor_that_does_not_lie_in_its_block_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive(tmp_path / "x.pt", TENSORS[name], BLOCK)
    check_refused(tmp_path, "x.pt", capsys)


def test_such_a_tensor_is_read_if_it_does(tmp_path: Path) -> None:
    archive(tmp_path / "x.pt", tensor_pickle(4, (2, 2), (2, 1)), BLOCK)
    assert torch.equal(TorchFile(tmp_path / "x.pt").content["model"]["w"].read(), torch.tensor([[1.0, 2], [3, 4]]))


def damaged(tmp_path: Path, kind: str) -> Path:
    """A file that is broken in the named way."""
    path = tmp_path / "x.pt"
    honest = {"model": {"w": torch.ones(1000)}}
    if kind == "nested zip":
        torch.save(honest, tmp_path / "inner.pt")
        inner = (tmp_path / "inner.pt").read_bytes()
        (tmp_path / "inner.pt").unlink()
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x/inner.zip", inner)
    elif kind == "a zip in place of the pickle":
        buffer = io.BytesIO()
        torch.save(honest, buffer)
        archive(path, buffer.getvalue())
    elif kind == "names that lead outside":
        archive(path, GOOD, ("x/../../escaped", b"x"))
    elif kind == "absolute names":
        archive(path, GOOD, ("/escaped", b"x"))
    elif kind == "compressed":
        archive(path, GOOD, ("x/data/0", bytes(1 << 20)), compress=zipfile.ZIP_DEFLATED)
    elif kind == "two pickles":
        archive(path, GOOD, ("y/data.pkl", GOOD))
    elif kind == "big-endian":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x/data.pkl", GOOD)
            file.writestr("x/byteorder", b"big")
    elif kind == "legacy format":
        torch.save(honest, path, _use_new_zipfile_serialization=False)
    elif kind == "cut short":
        torch.save(honest, path)
        path.write_bytes(path.read_bytes()[:-700])
    elif kind == "not a checkpoint":
        torch.save(torch.ones(3), path)
    elif kind == "another model":
        torch.save({"model": {"resnet.weight": torch.ones(3)}}, path)
    elif kind == "no weights":
        torch.save({"epoch": 3}, path)
    elif kind == "text":
        path.write_text("404: not found")
    elif kind == "a folder":
        path.mkdir()
    return path


KINDS = [
    "nested zip", "a zip in place of the pickle", "names that lead outside", "absolute names", "compressed",
    "two pickles", "big-endian", "legacy format", "cut short", "not a checkpoint", "another model", "no weights",
    "text", "a folder", "nothing",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_file_ends_in_one_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged(tmp_path, kind)
    said = check_refused(tmp_path, "x.pt", capsys)
    assert not (tmp_path.parent / "escaped").exists()
    if kind == "legacy format":
        assert "before 1.6" in said


def test_numbers_that_were_changed_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.full((1000,), 7.0)}, path)
    content = path.read_bytes()
    place = content.index(struct.pack("<8f", *[7.0] * 8)) + 400
    path.write_bytes(content[:place] + b"\x00\x01" + content[place + 2 :])
    with pytest.raises(UserError, match="damaged"):
        TorchFile(path).content["w"].read()


def test_depth_is_measured_however_containers_are_nested() -> None:
    value: Any = 0
    for _ in range(MAX_DEPTH):
        value = {"k": (value,)}
    with pytest.raises(PickleRefused, match="nested"):
        measure(value)
    assert measure([[1, 2], {"a": []}])[0] == 3
    assert read_pickle(nested(MAX_DEPTH), lambda *_: NotImplemented, lambda _: None)
