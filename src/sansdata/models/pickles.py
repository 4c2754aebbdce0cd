"""Pickles as plain data: every instruction is read by the machine below, which imports nothing and calls nothing.

Python's own reader makes objects by calling what the pickle names. Here a name stays a name: an object of any class is
a `Foreign`, which says the class and carries the data that the object was to be made of.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import TeacherError, UnsafeFileError
from .limits import MAX_PICKLE_OPERATIONS

Maker = Callable[..., Any]
"""Makes a plain value from the arguments that a pickle gives to a name that we know."""
DAMAGED = "a damaged or truncated file"
MAX_KEY_PARTS = 16
MAX_KEY_TEXT = 200
LARGE = 2**60
"""Whole numbers from here on can be chosen to have equal hashes, which makes a dict slow; no real key is as large."""


@dataclass(eq=False)
class Foreign:
    """A class or function by name, or an object that was to be made by it. Nothing of that name was imported."""

    name: str
    """'argparse.Namespace'"""
    args: tuple[Any, ...] | None = None
    """What it was to be called with; None for the name alone."""
    state: Any = None
    """The object's attributes, mostly a dict."""
    elements: list[Any] = field(default_factory=list)
    """Of an object that is a list or a set."""
    entries: dict[Any, Any] = field(default_factory=dict)
    """Of an object that is a dict."""


def walk(tree: Any) -> Iterator[Any]:
    """Every value in a tree of plain data, each container once, however often it is referred to: a pickle of some bytes
    can hold a tree with more branches than there are atoms."""
    waiting, visited = [tree], set()
    while waiting:
        value = waiting.pop()
        yield value
        if not isinstance(value, (dict, list, tuple, set, frozenset, Foreign)) or id(value) in visited:
            continue
        visited.add(id(value))
        if isinstance(value, Foreign):
            waiting += [value.args, value.state, value.elements, value.entries]
        else:
            waiting += [*value, *value.values()] if isinstance(value, dict) else value


class Machine:
    """Reads pickles, one after the other, from `stream`.

    where: how errors name the file. makers: what to do with the names that we know; constants: names that are values.
    storage: gives what stands for the bytes that a persistent id names. accept: raises for a name that is not accepted.

    Raises UnsafeFileError for what is too large, loops or cannot be plain data, TeacherError for what is no pickle.
    """

    def __init__(
        self,
        stream: io.BytesIO,
        where: str,
        makers: Mapping[str, Maker],
        constants: Mapping[str, Any],
        storage: Callable[[Any], Any],
        accept: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.stream, self.where = stream, where
        self.makers, self.constants = {**MAKERS, **makers}, constants
        self.storage, self.accept = storage, accept
        self.names: dict[str, None] = {}
        """The names that were not known, in order."""
        self.spent = 0

    def read(self) -> Any:
        """The value of the next pickle."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        """How high the stack was at each mark."""
        self.memo: dict[int, Any] = {}
        try:
            for code, argument, _ in pickletools.genops(self.stream):
                self._spend(1)
                self._step(code.name, argument)
            return self.stack.pop()
        except TeacherError:
            raise
        except Exception as fault:  # pickletools raises many kinds for what is no pickle, and so does an empty stack
            reason = f"{type(fault).__name__}: {' '.join(str(fault).split())[:120]}"
            raise TeacherError(f"{self.where}: {DAMAGED} ({reason}). Copy it again") from None

    def _spend(self, operations: int) -> None:
        self.spent += operations
        if self.spent > MAX_PICKLE_OPERATIONS:
            raise UnsafeFileError(f"{self.where}: its pickle has more than {MAX_PICKLE_OPERATIONS:,} instructions")

    def _step(self, code: str, argument: Any) -> None:
        stack = self.stack
        match code:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marks.append(len(stack))
            case "POP":
                if self.marks and self.marks[-1] == len(stack):
                    self.marks.pop()
                else:
                    stack.pop()
            case "POP_MARK":
                self._marked()
            case "DUP":
                stack.append(stack[-1])
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(code == "NEWTRUE")
            case "EMPTY_LIST" | "LIST":
                stack.append([] if code == "EMPTY_LIST" else self._marked())
            case "EMPTY_TUPLE" | "TUPLE":
                stack.append(() if code == "EMPTY_TUPLE" else tuple(self._marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                parts = [stack.pop() for _ in range(int(code[-1]))]
                stack.append(tuple(reversed(parts)))
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                pairs = self._marked()
                stack.append({})
                self._set(stack[-1], pairs)
            case "EMPTY_SET":
                stack.append(set())
            case "FROZENSET":
                stack.append(frozenset(map(self._key, self._marked())))
            case "APPEND":
                value = stack.pop()
                self._extend(stack[-1], [value])
            case "APPENDS" | "ADDITEMS":
                values = self._marked()
                self._extend(stack[-1], values)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._set(stack[-1], [key, value])
            case "SETITEMS":
                pairs = self._marked()
                self._set(stack[-1], pairs)
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                self._name(argument.replace(" ", ".", 1))
            case "STACK_GLOBAL":
                last, first = stack.pop(), stack.pop()
                self._name(f"{_text(first)}.{_text(last)}")
            case "INST":
                args = tuple(self._marked())
                self._name(argument.replace(" ", ".", 1))
                stack.append(self._made(stack.pop(), args))
            case "OBJ":
                callee, *rest = self._marked()
                stack.append(self._made(callee, tuple(rest)))
            case "REDUCE" | "NEWOBJ":
                args, callee = stack.pop(), stack.pop()
                stack.append(self._made(callee, args))
            case "NEWOBJ_EX":
                named, args, callee = stack.pop(), stack.pop(), stack.pop()
                self._spend(len(args))
                stack.append(self._made(callee, (*args, named) if named else args))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Foreign):
                    stack[-1].state = state
            case "PERSID" | "BINPERSID":
                stack.append(self.storage(argument if code == "PERSID" else stack.pop()))
            case "EXT1" | "EXT2" | "EXT4" | "NEXT_BUFFER" | "READONLY_BUFFER":
                raise UnsafeFileError(
                    f"{self.where}: its pickle has the instruction {code}, which needs more than the file"
                )
            case _:  # numbers, texts and bytes, of every length and age
                if argument is None:
                    raise ValueError(f"the instruction {code}")
                stack.append(argument)

    def _marked(self) -> list[Any]:
        """What lies above the last mark, which is taken off."""
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def _name(self, name: str) -> None:
        name = name[:200]
        if name in self.constants:
            self.stack.append(self.constants[name])
            return
        if name not in self.makers and name not in CONTAINERS:
            self.accept(name)
            self.names[name] = None
        self.stack.append(Foreign(name))

    def _made(self, callee: Any, args: Any) -> Any:
        if not isinstance(callee, Foreign) or callee.args is not None or not isinstance(args, tuple):
            raise ValueError("something is called that is no name")
        if callee.name in CONTAINERS:
            return self._container(CONTAINERS[callee.name](), args)
        maker = self.makers.get(callee.name)
        if maker is None:
            return Foreign(callee.name, args)
        for one in args:  # a text or a list that stands there once can be meant often, and is copied each time
            if isinstance(one, (str, bytes, list, tuple)):
                self._spend(len(one) // (16 if isinstance(one, (str, bytes)) else 1))
        return maker(*args)

    def _extend(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, Foreign):
            target.elements.extend(values)
        elif isinstance(target, set):
            target.update(map(self._key, values))
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise ValueError(f"something is added to a {type(target).__name__}")

    def _set(self, target: Any, pairs: list[Any]) -> None:
        entries = target.entries if isinstance(target, Foreign) else target
        if not isinstance(entries, dict) or len(pairs) % 2:
            raise ValueError(f"a name is set in a {type(target).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2]):
            entries[self._key(key)] = value

    def _container(self, target: Any, args: tuple[Any, ...]) -> Any:
        """`target` with what it was to be made of: a dict, pairs of a dict, or the items of a set."""
        content = args[-1] if args and isinstance(args[-1], (list, dict)) else []
        self._spend(len(content))
        if isinstance(target, set):
            target.update(map(self._key, content))
        else:
            pairs = content.items() if isinstance(content, dict) else content
            self._set(target, [part for key, value in pairs for part in (key, value)])
        return target

    def _key(self, value: Any) -> Any:
        """`value` as it may stand in a dict or a set; a tuple as text: to hash a nested one can take for ever."""
        if isinstance(value, tuple) and len(value) <= MAX_KEY_PARTS and all(map(_is_short, value)):
            return repr(value)
        if isinstance(value, (tuple, list, dict, set, frozenset)):
            raise UnsafeFileError(f"{self.where}: something in its pickle is named by a {type(value).__name__}")
        return str(value) if isinstance(value, int) and abs(value) >= LARGE else value


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_KEY_TEXT
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGE)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a name that is no text")
    return value


# -- what Python and numpy call their plain values


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding[:20]}")
    return text.encode("latin1")


def _numpy_scalar(dtype: Any, content: bytes | str = b"") -> bool | int | float | Foreign:
    """numpy's number as Python's."""
    code = dtype.args[0] if isinstance(dtype, Foreign) and dtype.args else None
    if not (isinstance(code, str) and re.fullmatch("[fiu][1248]|b1", code)):
        return Foreign(NUMPY_SCALAR, (dtype, content))
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "="
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, np.dtype(f">{code}" if order == ">" else code), 1)[0].item()


NUMPY_SCALAR = "numpy.core.multiarray.scalar"
CONTAINERS: Mapping[str, Callable[[], Any]] = {
    "collections.OrderedDict": dict,
    "collections.defaultdict": dict,
    "collections.Counter": dict,
    **{f"{builtins}.{name}": set for builtins in ("builtins", "__builtin__") for name in ("set", "frozenset")},
}
MAKERS: Mapping[str, Maker] = {
    "_codecs.encode": _encoded,
    NUMPY_SCALAR: _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "numpy.dtype": lambda *args: Foreign("numpy.dtype", args),
}
