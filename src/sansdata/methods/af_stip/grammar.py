"""Fragments of Solidity out of a small grammar: money that leaves before or after the books are kept, with a guard or
without; clocks that are compared; loops that end or do not. What each is worth, the teacher says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Generator

from .cleaner import renamed

Choice = TypeVar("Choice")
NUMBERS = ("0", "1", "2", "10", "100", "1000")
TYPES = ("uint", "uint256", "address", "bytes", "bool", "string", "bytes32", "uint64")
VISIBLE = ("public", "external", "internal", "private", "")
FACTS = ("payable", "onlyOwner", "noReentrancy", "returns ( bool )", "view", "notLocked", "onlyHolder")


class Author:
    """Writes fragments, each with names of its own. stream: of all its choices."""

    def __init__(self, stream: Generator) -> None:
        self.stream = stream

    def fragment(self) -> str:
        """The cleaned tokens of one to three functions and sometimes a contract's head, cut off at times."""
        parts = [self.function() for _ in range(self.number(1, 3))]
        if self.chance(0.25):
            parts.insert(self.number(0, len(parts)), self.head())
        tokens = " ".join(parts).split()
        if self.chance(0.3):
            tokens = tokens[: self.number(max(8, len(tokens) // 2), len(tokens))]
        return " ".join(renamed(tokens))

    # -- choices

    def chance(self, share: float) -> bool:
        return float(torch.rand((), generator=self.stream)) < share

    def number(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.stream))

    def of(self, choices: Sequence[Choice]) -> Choice:
        return choices[self.number(0, len(choices) - 1)]

    def name(self) -> str:
        return f"name_{self.number(1, 12)}"

    # -- code

    def function(self) -> str:
        parameters = " , ".join(f"{self.of(TYPES)} {self.name()}" for _ in range(self.number(0, 4)))
        facts = " ".join(self.of(FACTS) for _ in range(self.number(0, 2)))
        name = f"call_{self.number(1, 8)}" if self.chance(0.9) else ""
        body = " ".join(self.statement() for _ in range(self.number(1, 6)))
        return f"function {name} ( {parameters} ) {self.of(VISIBLE)} {facts} {{ {body}"

    def statement(self, depth: int = 0) -> str:
        sorts: list[Callable[[int], str]] = [
            self.guard, self.payment, self.payment, self.booking, self.booking, self.declaration, self.call, self.event,
            self.branch, self.loop, self.clock, self.ending,
        ]  # fmt: skip
        return self.of(sorts)(depth)

    def guard(self, _: int) -> str:
        test = self.of(("msg . sender == owner", f"msg . sender == {self.name()}", self.test()))
        return self.of((f"require ( {test} ) ;", f"if ( ! ( {test} ) ) throw ;", f"if ( {test} ) revert ( ) ;"))

    def payment(self, _: int) -> str:
        to = self.of(("msg . sender", self.name(), f"address ( {self.name()} )", f"{self.books()}", "owner"))
        data = self.of(("", "", self.name(), f"{self.name()} , {self.name()}", 'bytes4 ( keccak256 ( "" ) )'))
        gas = f". gas ( {self.of(NUMBERS)} )" if self.chance(0.2) else ""
        paid = f"{to} . call . value ( {self.value()} ) {gas} ( {data} )"
        return self.of(
            (f"{paid} ;", f"require ( {paid} ) ;", f"if ( ! {paid} ) {self.of(('throw', 'revert ( )'))} ;",
             f"if ( {paid} ) {{ {self.booking(1)}", f"return {paid} ;", f"{to} . transfer ( {self.value()} ) ;",
             f"bool {self.name()} = {paid} ;")
        )  # fmt: skip

    def booking(self, _: int) -> str:
        return f"{self.of((self.books(), self.name()))} {self.of(('=', '-=', '+='))} {self.value()} ;"

    def books(self) -> str:
        return f"{self.name()} [ {self.of(('msg . sender', self.name()))} ]"

    def value(self) -> str:
        plain = (self.name(), self.of(NUMBERS), "msg . value", self.books(), "this . balance", "msg . sender")
        return f"{self.of(plain)} {self.of('+-*/')} {self.of(plain)}" if self.chance(0.2) else self.of(plain)

    def test(self) -> str:
        return f"{self.value()} {self.of(('>', '<', '>=', '<=', '==', '!='))} {self.value()}"

    def declaration(self, _: int) -> str:
        return f"{self.of(TYPES)} {self.name()} = {self.value()} ;"

    def call(self, _: int) -> str:
        before = f"{self.name()} . " if self.chance(0.4) else ""
        return f"{before}call_{self.number(1, 8)} ( {self.value()} , {self.value()} ) ;"

    def event(self, _: int) -> str:
        emit = "emit " if self.chance(0.5) else ""
        return f"{emit}call_{self.number(9, 12)} ( msg . sender , {self.value()} ) ;"

    def branch(self, depth: int) -> str:
        inside = self.statement(depth + 1) if depth < 2 else self.booking(depth)
        other = f"}} else {{ {self.booking(depth)} }}" if self.chance(0.3) else "}"
        return f"if ( {self.test()} ) {{ {inside} {other}"

    def loop(self, depth: int) -> str:
        place = self.name()
        step = self.of((f"{place} ++", f"{place} --", f"{place} += {self.of(NUMBERS)}", ""))
        inside = self.statement(depth + 1) if depth < 2 else self.booking(depth)
        return self.of(
            (f"for ( uint {place} = 0 ; {self.of((self.test(), 'true', f'{place} < {self.name()}'))} ; {step} ) "
             f"{{ {inside} }}",
             f"while ( {self.of((self.test(), 'true'))} ) {{ {inside} {step} ; }}",
             f"do {{ {inside} {step} ; }} while ( {self.test()} ) ;")
        )  # fmt: skip

    def clock(self, _: int) -> str:
        now = self.of(("now", "block . timestamp", "block . number"))
        return self.of((f"require ( {now} >= {self.name()} ) ;", f"if ( {now} % {self.of(NUMBERS)} == 0 ) throw ;"))

    def ending(self, _: int) -> str:
        return f"return {self.of(('true', 'false', self.value()))} ;"

    def head(self) -> str:
        fields = " ".join(f"{self.of(TYPES)} {self.of(VISIBLE)} {self.name()} ;" for _ in range(self.number(1, 5)))
        return f"contract {self.name()} is {self.name()} {{ {fields}"
