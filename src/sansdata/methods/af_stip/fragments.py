"""A contract cut into fragments: each function around a risky construct, with those that call it."""

from __future__ import annotations

from collections.abc import Iterator
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
