"""A contract cut into fragments, each function around a risky construct with those that call it; and files of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .cleaner import leaves, parse

CONSTRUCTS = {
    "reentrancy": (("call", ".", "value"), ("call", "{", "value")),
    "timestamp": (("block", ".", "timestamp"), ("now",)),
    "delegatecall": (("delegatecall",),),
    "arithmetic": (("+",), ("-",), ("*",), ("+=",), ("-=",), ("*=",)),
    "loop": (("for",), ("while",)),
}
"""Type of weakness -> tokens, one behind the other, that may show it."""
DEFINITIONS = ("function_definition", "constructor_definition", "fallback_receive_definition", "modifier_definition")


CONTRACT_FILES = (".sol", ".c")


@dataclass(frozen=True)
class Fragment:
    """code: of the callers, then of the function. lines: of the function in its file, from 1, both ends included."""

    code: str
    name: str
    lines: tuple[int, int]


def fragments(code: str, weakness: str) -> list[Fragment]:
    """The fragments of a Solidity file in which something of CONSTRUCTS[weakness] stands, in the order of the file.

    Raises KeyError for an unknown weakness, MissingLibraryError without tree-sitter.
    """
    constructs = CONSTRUCTS[weakness]
    functions = list(_functions(parse(code)))
    words = {function.id: [leaf.text.decode() for leaf in leaves(function.text.decode())] for function in functions}
    made = []
    for function in functions:
        if not any(_holds(words[function.id], construct) for construct in constructs):
            continue
        name = _name(function)
        callers = [other for other in functions if other.id != function.id and _calls(words[other.id], name)]
        text = "\n".join(one.text.decode() for one in [*callers, function])
        made.append(Fragment(text, name, (function.start_point[0] + 1, function.end_point[0] + 1)))
    return made


def parted(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(code, label) of each fragment of a file of ReChecker's form, which a line of dashes ends.

    Before the code there may stand a line that begins with a number, and one with the name of the contract's file. A
    line of a number alone is no code either; the last one is the label, '' where there is none.
    """
    code, label, header = list[str](), "", True
    for line in [*lines, "-"]:
        words = line.split()
        if words and not line.strip().strip("-"):
            if code or label:
                yield "\n".join(code), label
            code, label, header = [], "", True
        elif not words or (header and (words[0].isdecimal() or _names_a_file(words))):
            continue
        elif len(words) == 1 and words[0].isdecimal():
            label = words[0]
        else:
            code.append(line)
            header = False


def _names_a_file(words: list[str]) -> bool:
    return len(words) == 1 and words[0].endswith(CONTRACT_FILES)


def _functions(root: Any) -> Iterator[Any]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type in DEFINITIONS:
            yield node
        else:
            waiting.extend(reversed(node.children))


def _name(function: Any) -> str:
    own = function.child_by_field_name("name")
    return own.text.decode() if own is not None else ""


def _holds(words: list[str], construct: tuple[str, ...]) -> bool:
    size = len(construct)
    return any(tuple(words[place : place + size]) == construct for place in range(len(words) - size + 1))


def _calls(words: list[str], name: str) -> bool:
    return bool(name) and _holds(words, (name, "("))
