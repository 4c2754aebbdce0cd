"""A strict run starts the programs that were declared, and no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sansdata.engine.guard.no_data import NoDataGuard
from sansdata.errors import NoDataViolation

TRUE = next(Path(path) for path in ("/bin/true", "/usr/bin/true") if Path(path).exists())


def test_a_declared_program_is_in_the_ledger_with_its_hash(tmp_path: Path) -> None:
    with NoDataGuard("strict", {}, tmp_path) as guard:
        guard.declare_programs({TRUE: "truth"})
        assert subprocess.run([str(TRUE)], capture_output=True, check=False).returncode == 0
    record = guard.record()
    assert record["violations"] == []
    (entry,) = [entry for entry in record["files"] if entry["role"] == "program"]
    assert entry["path"] == str(TRUE.resolve())
    assert len(entry["sha256"]) == 64
    assert ("a program that was declared", f"truth: {TRUE.resolve()}") in {
        (one["what"], one["name"]) for one in record["unwatched"]
    }


@pytest.mark.parametrize("command", [[sys.executable, "-c", ""], ["true"]])
def test_another_program_is_refused_also_by_a_name_that_the_shell_would_look_up(
    command: list[str], tmp_path: Path
) -> None:
    with NoDataGuard("strict", {}, tmp_path) as guard:
        guard.declare_programs({TRUE: "truth"})
        with pytest.raises(NoDataViolation, match="process"):
            subprocess.run(command, check=False)
