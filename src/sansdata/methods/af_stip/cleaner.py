"""Solidity code without what is its author's alone: comments, texts and names (the scheme of VulDeePecker and
ReChecker, which AF-STip's released script follows with more keywords).

Deviation: ReChecker's script goes line by line and by regular expressions alone. It leaves comments, but for lines that
end one, and numbers the names in them; a name before another, such as a type, it leaves as it is. Neither lexer here
does.

Functions become FUN1, FUN2, ... and variables VAR1, VAR2, ... in the order in which a fragment first names them; a name
that stands before a bracket is a function. Words of the language and `KEYWORDS` stay.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal

from ...errors import DataError, MissingLibraryError

Lexer = Literal["tree-sitter", "regex"]
MAX_CODE_BYTES = 10_000_000
_KEYWORDS = """
    abstract address anonymous as assembly assert balance block bool break bytes call callcode calldata case catch
    constant constructor continue contract days default delegatecall delete do else emit enum ether event external
    fallback false final finney fixed for from function gas gasleft gwei hex hours if immutable import indexed
    inherited interface internal is keccak256 length let library mapping memory minutes modifier msg new noReentrancy
    now number onlyAdmin onlyOwner origin override owner payable pragma private public pure push receive
    require return returns revert seconds selfdestruct send sender sha3 storage string struct suicide super switch
    szabo this throw timestamp transfer true try tx type unchecked using value var view virtual weeks wei while years
"""
KEYWORDS = frozenset(_KEYWORDS.split())
"""Words that stay. Deviation: the released list also has words of C and Java, which mark no contract."""
SIZED = re.compile(r"(u?int|bytes|u?fixed)(\d+)?(x\d+)?")
"""Types that say their size: uint256, bytes32."""
WORD = re.compile(r"[A-Za-z_$][\w$]*")
REGEX = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[A-Za-z_$][\w$]*|0x[0-9a-fA-F]+|\d+(?:\.\d+)?"
    r"|\*\*|<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|[-+*/%&|^]=|=>|\S",
    re.DOTALL,
)
BODY = ("contract C { function f() { ", "\n}}")
EMPTY = '""'
"""What stands for a text of any content."""


def clean(code: str, lexer: Lexer = "tree-sitter") -> list[str]:
    """The tokens of a fragment of Solidity, cleaned.

    lexer: 'tree-sitter' reads the language, also where a fragment is no whole contract; 'regex' is ours and takes no
    library. Raises DataError for more than MAX_CODE_BYTES, MissingLibraryError.
    """
    if len(code) > MAX_CODE_BYTES:
        raise DataError(f"code of {len(code):,} letters; at most {MAX_CODE_BYTES:,} are read")
    plain = code.encode("ascii", "ignore").decode()
    tokens = list(_by_grammar(plain) if lexer == "tree-sitter" else _by_regex(plain))
    return list(renamed(tokens))


def renamed(tokens: Sequence[str]) -> Iterator[str]:
    """Tokens of one fragment with the names of its author numbered."""
    names: dict[tuple[str, str], str] = {}
    count = {"FUN": 0, "VAR": 0}
    for token, after in zip(tokens, [*tokens[1:], ""]):
        if not WORD.fullmatch(token) or token in KEYWORDS or SIZED.fullmatch(token):
            yield token
            continue
        sort = "FUN" if after == "(" else "VAR"
        if (sort, token) not in names:
            count[sort] += 1
            names[sort, token] = f"{sort}{count[sort]}"
        yield names[sort, token]


def _by_regex(code: str) -> Iterator[str]:
    for token in REGEX.findall(code):
        if token.startswith(("//", "/*")):
            continue
        yield EMPTY if token[0] in "\"'" else token


def _by_grammar(code: str) -> Iterator[str]:
    for node in leaves(code):
        if "comment" in node.type:
            continue
        text = node.text.decode()
        if text[:1] in ('"', "'"):
            yield EMPTY
        elif node.type == "ERROR" or " " in text:  # what the language does not know, word by word
            yield from _by_regex(text)
        elif text:  # a bracket that a fragment lacks is a node without text
            yield text


def leaves(code: str) -> list[Any]:
    """The nodes of tree-sitter's tree that hold no others, in order; a text or a comment is one of them.

    Statements alone are no Solidity: they are read as the body of a function where that leaves fewer letters unread.
    """
    readings = [_leaves(before, code, after) for before, after in (("", ""), BODY)]
    return min(readings, key=lambda reading: reading[0])[1]


def _leaves(before: str, code: str, after: str) -> tuple[int, list[Any]]:
    """(letters that the language does not know, the leaves of `code` between the two)."""
    waiting, unread, pieces = [parse(before + code + after)], 0, []
    start, end = len(before.encode()), len((before + code).encode())
    while waiting:
        node = waiting.pop()
        if node.type == "ERROR":
            unread += node.end_byte - node.start_byte
        if node.children and node.type not in ("string_literal", "string", "comment"):
            waiting.extend(reversed(node.children))
        elif start <= node.start_byte and node.end_byte <= end:
            pieces.append(node)
    return unread, pieces


def parse(code: str) -> Any:
    """The root of tree-sitter's tree. Raises MissingLibraryError."""
    return _parser().parse(code.encode()).root_node


@lru_cache(maxsize=1)
def _parser() -> Any:
    try:
        library, solidity = import_module("tree_sitter"), import_module("tree_sitter_solidity")
    except ImportError as fault:
        raise MissingLibraryError(
            f"reading Solidity needs tree-sitter and tree-sitter-solidity ({fault}): pip install "
            "tree-sitter tree-sitter-solidity, or take lexer='regex'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the grammar's package gives its pointer as a number
        return library.Parser(library.Language(solidity.language()))
