"""A reader of pickles that runs nothing: what a file asks to construct becomes plain data or an inert `Record`.

Python's own unpickler calls what a file names. Here the opcodes are interpreted by hand (`pickletools` tells them
apart), names are only names, and a name that no checkpoint needs is refused before anything is built.
Nothing in the file can be imported, called or given attributes, and sizes are bounded by the file's.
"""

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_OPCODES = 20_000_000
MAX_DEPTH = 100
"""Levels of containers within containers; configurations have fewer than 10."""
MAX_VALUES = 20_000_000
"""Values that a file may describe, one counted as often as it is referred to."""


class PickleRefused(ValueError):
    """Why a pickle is not read."""


@dataclass(frozen=True)
class Name:
    """A class or function that a file names; it stands for itself and is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An object that a file describes: what it is, what it was made with, and its attributes."""

    kind: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)  # of a list or dictionary type: what was put in


Call = Callable[[Name, tuple[Any, ...]], Any]
"""Makes an object of a name and arguments; NotImplemented where a `Record` will do."""

_MODULES = (
    r"(argparse|pathlib|datetime|uuid|typing|enum|omegaconf|hydra|fairseq|fairseq_user_dir_\d+|fairseq_cli|examples|"
    r"deepspeed|numpy)(\.\w+)*"
)
_SINGLE = {
    "builtins": "dict list int float str bool tuple set frozenset complex bytes bytearray slice object NoneType type",
    "__builtin__": "dict list int long float str unicode bool tuple set frozenset complex object",
    "collections": "OrderedDict defaultdict Counter deque namedtuple",
    "copyreg": "_reconstructor __newobj__",
    "copy_reg": "_reconstructor",
    "_codecs": "encode",
    "torch": r"\w+Storage|Size|device|Tensor|b?float\d+\w*|u?int\d+|bool|complex\d+",
    "torch.storage": r"\w*Storage|_load_from_bytes",
    "torch._utils": r"_rebuild_\w+",
    "torch._tensor": r"_rebuild_from_type_v2",
    "torch.nn.parameter": r"Parameter|Buffer",
}


def is_allowed(name: Name) -> bool:
    """Whether checkpoints need this name. What is allowed is inert all the same."""
    if re.fullmatch(_MODULES, name.module):
        return re.fullmatch(r"\w+(\.\w+)*", name.name) is not None
    pattern = _SINGLE.get(name.module, "")
    return re.fullmatch(pattern.replace(" ", "|"), name.name) is not None if pattern else False


def read_pickle(content: bytes, call: Call, persistent: Callable[[Any], Any]) -> Any:
    """The value that a pickle describes.

    Args:
        content: one pickle, of any protocol to 5.
        call: makes tensors, for instance; asked before a `Record` is made.
        persistent: the object of a persistent id (torch: a storage).

    Raises:
        PickleRefused: it is damaged, names what no checkpoint needs, or is a bomb.
    """
    try:
        value = _Machine(call, persistent).run(content)
    except PickleRefused:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise PickleRefused(f"its pickle is damaged ({type(error).__name__}: {error})") from None
    measure(value)
    return value


_HOLDERS = (dict, list, tuple, set, frozenset, Record)


def children(value: Any) -> list[Any]:
    """What a container holds directly; nothing for other values."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, Record):
        return [*value.arguments, value.state, *value.items]
    return []


def measure(root: Any) -> tuple[int, int]:
    """(levels, values) of a tree of containers; shared ones count wherever they are referred to.

    Raises:
        PickleRefused: it is too deep or too large, or contains itself.
    """
    sizes: dict[int, tuple[int, int]] = {}  # of containers that are done
    inside: set[int] = set()  # containers that we are within
    stack: list[tuple[Any, list[Any] | None]] = [(root, None)]
    while stack:
        value, parts = stack.pop()
        if parts is not None:
            inside.discard(id(value))
            measured = [sizes.get(id(part), (0, 1)) for part in parts]
            depth = 1 + max((d for d, _ in measured), default=0)
            count = 1 + sum(n for _, n in measured)
            if count > MAX_VALUES:
                raise PickleRefused(f"it describes more than {MAX_VALUES:,} values by referring to the same ones")
            sizes[id(value)] = depth, count
            if depth + len(inside) > MAX_DEPTH:
                raise PickleRefused(f"its containers are nested more than {MAX_DEPTH} levels deep")
        elif id(value) in inside:
            raise PickleRefused("one of its containers contains itself")
        elif id(value) not in sizes:
            parts = children(value)
            inside.add(id(value))
            if len(inside) > MAX_DEPTH:
                raise PickleRefused(f"its containers are nested more than {MAX_DEPTH} levels deep")
            stack.append((value, parts))
            stack += [(part, None) for part in parts if isinstance(part, _HOLDERS)]
    return sizes[id(root)]


class _Mark:
    pass


_MARK = _Mark()
_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONTAINERS = {Name("collections", "OrderedDict"): dict, Name("collections", "defaultdict"): dict}


class _Machine:
    """The stack machine of a pickle, with data in place of objects."""

    def __init__(self, call: Call, persistent: Callable[[Any], Any]) -> None:
        self.call, self.persistent = call, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count > MAX_OPCODES:
                raise PickleRefused("its pickle is too long")
            if opcode.name == "STOP":
                value = self.stack.pop()
                if self.stack:
                    raise PickleRefused("its pickle is damaged (values left over)")
                return value
            self.step(opcode.name, argument)
        raise PickleRefused("its pickle has no end")

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in _VALUES:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode in _TUPLES:
            stack.append(tuple(self.take(_TUPLES[opcode])))
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = self.top()
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif opcode == "MARK":
            stack.append(_MARK)
        elif opcode not in ("PROTO", "FRAME"):
            action = getattr(self, "op_" + opcode.lower(), None)
            if action is None:
                raise PickleRefused(f"its pickle uses {opcode}, which no checkpoint needs")
            action(argument)

    # ---- the stack

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise IndexError("empty stack")
        return self.stack[-1]

    def pop(self) -> Any:
        value = self.top()
        self.stack.pop()
        return value

    def take(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def to_mark(self) -> list[Any]:
        values: list[Any] = []
        while self.stack[-1] is not _MARK:
            values.append(self.stack.pop())
        self.stack.pop()
        return values[::-1]

    # ---- containers

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.to_mark()))

    def op_list(self, _: Any) -> None:
        self.stack.append(self.to_mark())

    def op_dict(self, _: Any) -> None:
        values = self.to_mark()
        self.stack.append({})
        self.put(values)

    def op_frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(_key(value) for value in self.to_mark()))

    def op_append(self, _: Any) -> None:
        self.extend([self.pop()])

    def op_appends(self, _: Any) -> None:
        self.extend(self.to_mark())

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        (target.items if isinstance(target, Record) else _expect(target, list)).extend(values)

    def op_setitem(self, _: Any) -> None:
        self.put(self.take(2))

    def op_setitems(self, _: Any) -> None:
        self.put(self.to_mark())

    def put(self, values: list[Any]) -> None:
        target = self.top()
        pairs = [(_key(key), value) for key, value in zip(values[::2], values[1::2], strict=True)]
        if isinstance(target, Record):
            target.items.extend(pairs)
        else:
            _expect(target, dict).update(pairs)

    def op_additems(self, _: Any) -> None:
        values = self.to_mark()
        _expect(self.top(), set).update(_key(value) for value in values)

    def op_pop(self, _: Any) -> None:
        self.stack.pop()

    def op_pop_mark(self, _: Any) -> None:
        self.to_mark()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.top())

    # ---- what other unpicklers call

    def op_global(self, argument: str) -> None:
        self.name(*argument.split(" ", 1))

    def op_stack_global(self, _: Any) -> None:
        self.name(*self.take(2))

    def name(self, module: str, name: str) -> None:
        found = Name(_expect(module, str), _expect(name, str))
        if not is_allowed(found):
            raise PickleRefused(
                f"it names {str(found)[:100]!r}, which no checkpoint of data2vec needs; nothing was run"
            )
        self.stack.append(found)

    def op_reduce(self, _: Any) -> None:
        kind, arguments = self.take(2)
        self.make(kind, arguments)

    op_newobj = op_reduce

    def op_newobj_ex(self, _: Any) -> None:
        kind, arguments, keywords = self.take(3)
        self.make(kind, (*_expect(arguments, tuple), _expect(keywords, dict)))

    def make(self, kind: Any, arguments: Any) -> None:
        kind, arguments = _expect(kind, Name), _expect(arguments, tuple)
        made = _CONTAINERS[kind]() if kind in _CONTAINERS else self.call(kind, arguments)
        self.stack.append(Record(kind, arguments) if made is NotImplemented else made)

    def op_build(self, _: Any) -> None:
        state = self.pop()
        target = self.top()
        if isinstance(target, Record):
            # omegaconf's nodes point back at what holds them
            target.state = {k: v for k, v in state.items() if k != "_parent"} if isinstance(state, dict) else state

    def op_binpersid(self, _: Any) -> None:
        self.stack.append(self.persistent(self.pop()))


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, {type(value).__name__} found")
    return value


def _key(value: Any) -> Any:
    """Only plain values may be keys: a tuple of tuples of tuples can be too deep to be hashed."""
    if not isinstance(value, str | bytes | int | float | Name | None):
        if isinstance(value, tuple) and all(isinstance(v, str | bytes | int | float | Name | None) for v in value):
            return value
        raise TypeError(f"a {type(value).__name__} is no key")
    return value
