"""Files of fragments in ReChecker's form: what is code in them, and what stands around it."""

from __future__ import annotations

from pathlib import Path

from sansdata.methods.af_stip.fragments import parted
from sansdata.methods.af_stip.sources import read_fragments

DASHES = "-" * 33
FILE = f"""1 14284.sol
14284.sol
function pay() payable public {{

    total -= 1;
0
{DASHES}
27:2 call.c
2 call7.c
#include "vntlib.h"
2 ** x;
x.sol
1
{DASHES}
debt = 0;
{DASHES}
{DASHES}
3 empty.sol
3.sol
"""


def test_what_stands_before_the_code_and_numbers_alone_are_no_code() -> None:
    assert list(parted(FILE.splitlines())) == [
        ("function pay() payable public {\n    total -= 1;", "0"),
        ('27:2 call.c\n2 call7.c\n#include "vntlib.h"\n2 ** x;\nx.sol', "1"),
        ("debt = 0;", ""),
    ]


def test_fragments_that_are_perturbed_are_code_alone(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text(FILE.replace("27:2 call.c\n", ""))
    assert read_fragments(tmp_path / "real.txt", "regex") == [
        "function FUN1 ( ) payable public { VAR1 -= 1 ;",
        '# VAR1 "" 2 ** VAR2 ; VAR2 . VAR3',
        "VAR1 = 0 ;",
    ]
