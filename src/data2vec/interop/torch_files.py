"""Reading `.pt` and `.pth` files of PyTorch 1.6 and later without running anything in them.

Such a file is a zip archive: `NAME/data.pkl` describes the objects, `NAME/data/<key>` holds the numbers. Tensors
are read when asked for, so that an optimizer's state costs nothing. Every size is checked against the archive's.
"""

import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data2vec.errors import UserError
from data2vec.interop.pickles import Name, PickleRefused, Record, read_pickle

DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "Untyped": torch.uint8,
}
MAX_PICKLE = 1 << 30
MAX_MEMBERS = 1_000_000


@dataclass(frozen=True)
class Storage:
    """One block of numbers in the archive."""

    archive: "TorchFile"
    member: str
    dtype: torch.dtype
    size: int  # in numbers


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that has not been read yet; shape and place have been checked."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """The tensor. Raises UserError if the archive is damaged there."""
        numbers = self.storage.archive.numbers(self.storage.member)
        return numbers.view(self.dtype).as_strided(self.shape, self.stride, self.offset)


class TorchFile:
    """An open file; `content` is what it holds, with `StoredTensor` for tensors and `Record` for other objects.

    Raises:
        UserError: it is no such file, is damaged, or holds what a checkpoint does not need.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blocks: dict[str, Tensor] = {}
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            self._archive = zipfile.ZipFile(path)
            self._sizes = self._checked_members()
            (pickled,) = [name for name in self._sizes if name.endswith("data.pkl")]
            self._prefix = pickled.removesuffix("data.pkl")
            if self._archive.getinfo(pickled).file_size > MAX_PICKLE:
                raise PickleRefused("its pickle is too large")
            if self._sizes.get(f"{self._prefix}byteorder") and self._member("byteorder") != b"little":
                raise PickleRefused("it was written on a big-endian machine")
            self.content = read_pickle(self._archive.read(pickled), self._call, self._storage)
        except PickleRefused as error:
            raise UserError(f"{path} is refused: {error}") from None
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise UserError(_not_a_zip(path, error)) from None

    def close(self) -> None:
        """Close the file; tensors that were read stay."""
        self._archive.close()
        self._blocks.clear()

    def numbers(self, member: str) -> Tensor:
        """The bytes of one block, read once."""
        if member not in self._blocks:
            buffer = bytearray(self._sizes[member])
            try:
                with self._archive.open(member) as stream:
                    filled = stream.readinto(memoryview(buffer))  # type: ignore[attr-defined]
                    stream.read(1)  # reaching the end checks the checksum
            except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
                raise UserError(f"{self.path} is damaged at {member}: {error}; fetch it again") from None
            if filled != len(buffer):
                raise UserError(f"{self.path} is damaged at {member}: it is cut short; fetch it again")
            self._blocks[member] = torch.frombuffer(buffer, dtype=torch.uint8) if buffer else torch.empty(0).byte()
        return self._blocks[member]

    def _member(self, name: str) -> bytes:
        return self._archive.read(self._prefix + name)

    def _checked_members(self) -> dict[str, int]:
        """Size of each member. Nothing is ever unpacked, but odd archives are refused all the same."""
        members = self._archive.infolist()
        sizes = {member.filename: member.file_size for member in members}
        if len(members) > MAX_MEMBERS or len(sizes) != len(members):
            raise PickleRefused("its archive has too many files, or two of one name")
        for member in members:
            name = member.filename
            if name.startswith("/") or ".." in name.split("/") or "\\" in name or ":" in name:
                raise PickleRefused(f"its archive has a file that lies outside of it: {name[:100]!r}")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise PickleRefused("its archive is compressed, which PyTorch never does")
        if sum(sizes.values()) > self.path.stat().st_size:
            raise PickleRefused("its archive claims to hold more than its own size")
        pickles = [name for name in sizes if name.endswith("data.pkl")]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise PickleRefused("it is a zip archive, but not one of PyTorch's: there must be one NAME/data.pkl in it")
        return sizes

    # ---- what the pickle describes

    def _storage(self, identity: Any) -> Storage:
        match identity:
            case ("storage", Name(name=kind), str(key), str(), int(size)) if kind.endswith("Storage"):
                dtype = DTYPES.get(kind.removesuffix("Storage"))
            case _:
                raise PickleRefused("its pickle refers to something that is no block of numbers")
        if dtype is None:
            raise PickleRefused(f"its numbers are of type {kind[:50]}, which no checkpoint of data2vec has")
        member = f"{self._prefix}data/{key}"
        found = self._sizes.get(member, -1)
        if size < 0 or found != size * dtype.itemsize:
            held = f"has {found}" if found >= 0 else "is not there"
            raise PickleRefused(f"block {key[:50]!r} should have {size * dtype.itemsize} bytes, but it {held}")
        return Storage(self, member, dtype, size)

    def _call(self, kind: Name, arguments: tuple[Any, ...]) -> Any:
        if kind.module == "torch._utils" and kind.name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _tensor(*arguments[:4])
        if kind.module == "torch._utils" and kind.name == "_rebuild_tensor_v3":
            storage, offset, shape, stride = arguments[:4]
            return _tensor(storage, offset, shape, stride, arguments[6])
        if kind.module == "torch._utils" and kind.name.startswith("_rebuild_parameter"):
            return arguments[0]
        if kind.name == "_rebuild_from_type_v2":
            return self._call(arguments[0], arguments[2])
        if kind == Name("torch", "Size"):
            return tuple(arguments[0])
        return NotImplemented


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, dtype: Any = None) -> StoredTensor:
    """Describe a tensor after checking that it lies within its block.

    A tensor with more numbers than its block (a stride of 0) is refused: it could be made huge by a few bytes.
    """
    if not isinstance(storage, Storage):
        raise PickleRefused("one of its tensors has no block of numbers")
    if not _whole(shape) or not _whole(stride) or not _whole((offset,)) or len(shape) != len(stride):
        raise PickleRefused("the shape of one of its tensors is damaged")
    kind: Any = storage.dtype
    if dtype is not None:
        kind = getattr(torch, dtype.name, None) if isinstance(dtype, Name) else None
        if not isinstance(kind, torch.dtype):
            raise PickleRefused("one of its tensors is of an unknown type")
    room = storage.size * storage.dtype.itemsize // kind.itemsize
    numbers = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) if numbers else -1
    if numbers > room or last >= room:
        text = "x".join(map(str, shape))[:100]
        raise PickleRefused(f"a tensor of shape {text} does not fit its block of {room} numbers")
    return StoredTensor(storage, kind, offset, tuple(shape), tuple(stride))


def _whole(values: Any) -> bool:
    numbers = values if isinstance(values, tuple | list) else (None,)
    return len(numbers) < 20 and all(type(n) is int and 0 <= n < 2**48 for n in numbers)


def plain(value: Any) -> Any:
    """Configuration containers as plain dictionaries, lists and values: argparse's, omegaconf's, enumerations.

    Other objects become None: configurations need none of them.
    """
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if not isinstance(value, Record):
        return None if isinstance(value, Name) else value
    state = value.state if isinstance(value.state, dict) else {}
    if value.kind.module.startswith("omegaconf"):
        return plain(state.get("_content", state.get("_val")))
    if value.kind == Name("argparse", "Namespace"):
        return plain(state)
    # an enumeration is called with its value
    return plain(value.arguments[0]) if len(value.arguments) == 1 and not state else None


def _not_a_zip(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46") or b"\x8a\x0a\x6c\xfc" in start:
        return (
            f"{path} has the format of PyTorch before 1.6, which is not read; where you trust its origin, load it "
            "and save it again with a newer PyTorch"
        )
    if start.startswith(b"PK"):
        return f"{path} is damaged or cut short ({error}); fetch it again"
    return f"{path} is no PyTorch file (it is no zip archive); fetch it again, or name another file"
