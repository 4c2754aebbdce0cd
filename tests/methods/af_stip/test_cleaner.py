"""Code without its author's names, by both lexers."""

from __future__ import annotations

import pytest

from sansdata.errors import DataError
from sansdata.methods.af_stip import cleaner
from sansdata.methods.af_stip.cleaner import clean
from sansdata.methods.af_stip.fragments import fragments

pytest.importorskip("tree_sitter_solidity")
both = pytest.mark.parametrize("lexer", ["tree-sitter", "regex"])


@both
def test_keywords_stay_and_names_are_numbered(lexer: cleaner.Lexer) -> None:
    tokens = clean("require(msg.sender == address(tokenContract));", lexer)
    assert " ".join(tokens) == "require ( msg . sender == address ( VAR1 ) ) ;"


@both
def test_numbers_begin_again_with_each_fragment_and_a_name_keeps_its_own(lexer: cleaner.Lexer) -> None:
    code = "function pay(uint256 sum) { total -= sum; pay(sum); check(total); }"
    wanted = "function FUN1 ( uint256 VAR1 ) { VAR2 -= VAR1 ; FUN1 ( VAR1 ) ; FUN2 ( VAR2 ) ; }"
    assert [" ".join(clean(code, lexer)) for _ in range(2)] == [wanted, wanted]


@both
def test_comments_and_the_content_of_texts_are_left_out(lexer: cleaner.Lexer) -> None:
    code = "/* owner */ revert(\"it's /* no */ use\"); // x = 1;\nstring s = 'a'; /* many\nlines */ y = 2;"
    assert " ".join(clean(code, lexer)) == 'revert ( "" ) ; string VAR1 = "" ; VAR2 = 2 ;'


@both
def test_letters_beyond_ascii_are_left_out(lexer: cleaner.Lexer) -> None:
    assert clean("sénder = msg.sender;", lexer) == ["VAR1", "=", "msg", ".", "sender", ";"]


def test_a_fragment_that_is_no_whole_contract_loses_no_word() -> None:
    code = "function f(uint a) payable {\nif(!to.call.value(a)()) {\nbalances[msg.sender] -= a;"
    assert clean(code) == clean(code, "regex")


def test_too_much_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaner, "MAX_CODE_BYTES", 10)
    with pytest.raises(DataError, match="at most 10"):
        clean("x" * 11)


def test_a_fragment_is_a_risky_function_behind_its_callers() -> None:
    code = """contract Bank {
    function take(uint sum) public { pay(msg.sender, sum); }
    function other() public { }
    function pay(address to, uint sum) internal {
        to.call.value(sum)();
    }
}"""
    (made,) = fragments(code, "reentrancy")
    assert made.name == "pay"
    assert made.lines == (4, 6)
    assert made.code.index("take") < made.code.index("function pay")
    assert "other" not in made.code
    assert fragments(code, "delegatecall") == []
