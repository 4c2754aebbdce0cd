"""One broken package of a third party: it is named, and all else works."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest
from tiny import make_module, make_task
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.errors import MethodError, TaskError
from sansdata.kinds import index as kinds
from sansdata.methods import index as methods
from sansdata.tasks import kinds as sides
from sansdata.tasks import load_task
from sansdata.teachers.base import Teacher

PACKAGES = {
    "gone": ("nowhere_at_all:Method", "No module named 'nowhere_at_all'"),
    "leaves": ("leaving:Method", "SystemExit"),
    "fails": ("failing:Method", "ZeroDivisionError"),
    "number": ("odd:NUMBER", "no sansdata Method"),
    "bare": ("odd:Bare", "does not define"),
    "nameless": ("odd:Absent", "does not load"),
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit('bye')\n")
    (tmp_path / "failing.py").write_text("1 / 0\n")
    (tmp_path / "odd.py").write_text(
        "from sansdata.method import Method\nNUMBER = 3\nclass Bare(Method):\n    Config = None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("leaving", "failing", "odd"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    entries = [EntryPoint(name, place, methods.GROUP) for name, (place, _) in PACKAGES.items()]
    for module in (methods, kinds, sides):
        monkeypatch.setattr(module, "entry_points", lambda group: entries)


@pytest.mark.parametrize("name", PACKAGES)
def test_it_is_named(broken, name):
    place, word = PACKAGES[name]
    with pytest.raises(MethodError, match=word) as fault:
        methods.find_method(name)
    assert place in str(fault.value)
    if name not in ("number", "bare"):
        with pytest.raises(TaskError, match=f"kind '{name}' of {place}"):
            load_task({"inputs": {"kind": name}, "outputs": {"kind": "classes", "classes": 2}})


def test_all_else_works(broken):
    verdict = sansdata.check(Teacher.from_module(make_module(), make_task()))
    assert verdict["methods"]["fm"] == []
    assert "does not load" in verdict["methods"]["gone"][0]
    listed = CliRunner().invoke(app, ["list", "methods"])
    assert listed.exit_code == 0
    assert "fm " in listed.output
    assert "No module named" in listed.output
    assert CliRunner().invoke(app, ["list", "kinds"]).exit_code == 0
    assert methods.find_method("noise").requires(methods.find_method("noise").Config())
