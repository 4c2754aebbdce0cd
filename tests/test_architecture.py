"""The plan of the house in docs/architecture.md, kept: who may import whom, what is imported lazily, what is shown."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sansdata

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sansdata"
PLAN = ROOT / "docs" / "architecture.md"
HEAVY = (
    "timm",
    "torchvision",
    "transformers",
    "tokenizers",
    "skops",
    "pandas",
    "fairlearn",
    "pydicom",
    "diffusers",
    "flwr",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "torchao",
    "executorch",
    "tensorboard",
    "cryptography",
    "model_signing",
)
WITHOUT_TORCH = (
    "errors",
    "config",
    "tasks",
    "code_named",
    "settings",
    "figures",
    "signing",
    "arithmetic",
    "process_group",
    "rounding",
    "files",
    "cli",
)
"""Rooms whose module level must import neither torch nor NumPy; cli imports the API inside its verbs."""
WITH_NUMPY = ("figures",)
"""Those of them whose values are arrays."""


def rooms() -> list[str]:
    """The rooms of section 3, bottom up."""
    block = PLAN.read_text(encoding="utf-8").partition("## 3.")[2].partition("```")[2].partition("```")[0]
    return re.findall(r"^  ([a-z_]+)(?:\.py|/)(?=\s)", block, flags=re.MULTILINE)


def modules() -> list[tuple[str, Path]]:
    """(room, file) of every module of ours; the package's own two files are the house, not a room."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).parts
        if parts[0] not in ("__init__.py", "__main__.py"):
            found.append((parts[0].removesuffix(".py"), path))
    return found


def imports(path: Path, everywhere: bool = True) -> Iterator[tuple[str, int]]:
    """(absolute name, line) of what a file imports, also for types only. everywhere: in functions too."""
    package = ["sansdata", *path.relative_to(SOURCE).parent.parts]

    def walk(node: ast.AST) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= len(package), f"{path}:{node.lineno} climbs out of the package"
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            yield from ((f"{stem}.{alias.name}", node.lineno) for alias in node.names)
        elif not everywhere and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    return walk(ast.parse(path.read_text(encoding="utf-8")))


def test_the_list_of_rooms_is_the_one_we_mean():
    found = rooms()
    assert set(found[:7]) == {"files", "errors", "config", "tasks", "code_named", "settings", "figures"}
    assert found[-1] == "cli"
    assert len(found) == len(set(found)) >= 20


def test_every_room_is_on_the_plan():
    assert {room for room, _ in modules()} <= set(rooms())


def test_each_room_imports_only_from_those_above_it_in_the_list():
    order = {room: place for place, room in enumerate(rooms())}
    wrong = []
    for room, path in modules():
        for name, line in imports(path):
            parts = name.split(".")
            if parts[0] != "sansdata" or len(parts) < 2 or parts[1] not in order:
                continue
            if order[parts[1]] > order[room]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_real_data_is_never_imported_below_evaluate():
    """The static half of the no-data promise, in functions too."""
    order = rooms()
    below = set(order[: order.index("evaluate")]) - {"datasets"}
    assert {"methods", "engine", "synthesis", "training", "teachers"} <= below
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for room, path in modules()
        if room in below
        for name, line in imports(path)
        if name.startswith(("sansdata.datasets", "sansdata.evaluate", "sklearn.datasets", "torchvision.datasets"))
    ]
    assert wrong == []


def test_no_heavy_or_optional_library_is_imported_at_module_level():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for _, path in modules()
        for name, line in imports(path, everywhere=False)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_rooms_that_answer_before_torch_do_not_import_it():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for room, path in modules()
        if room in WITHOUT_TORCH
        for name, line in imports(path, everywhere=False)
        if name.split(".")[0] in ("torch", "safetensors", *(() if room in WITH_NUMPY else ("numpy",)))
    ]
    assert wrong == []


def test_the_parser_of_imports_sees_what_it_should(tmp_path, monkeypatch):
    """Without this the tests above could pass by finding nothing."""
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "methods").mkdir()
    file = tmp_path / "methods" / "x.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import onnx\nfrom ..engine import loop\n"
        "import timm.data\nfrom . import y\ndef f():\n    from ..datasets.images import load\n"
    )
    names = [name for name, _ in imports(file)]
    assert names == [
        "typing.TYPE_CHECKING", "onnx", "sansdata.engine.loop", "timm.data", "sansdata.methods.y",
        "sansdata.datasets.images.load",
    ]  # fmt: skip
    assert "sansdata.datasets.images.load" not in [name for name, _ in imports(file, everywhere=False)]


# -- what `import sansdata` shows


@pytest.mark.parametrize("name", sansdata.__all__)
def test_every_shown_name_is_there_and_says_what_it_is(name):
    shown = getattr(sansdata, name)
    text = inspect.getdoc(shown)
    assert text, f"sansdata.{name} has no docstring"
    assert name in dir(sansdata)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        sansdata.distil  # noqa: B018


LAZY = """
import sys
import sansdata
assert "torch" not in sys.modules, "import sansdata"
sansdata.ImageTask
assert "torch" not in sys.modules, "ImageTask"
import sansdata.cli.main
assert "torch" not in sys.modules, "the command"
assert not {'timm', 'torchvision', 'transformers', 'onnx'} & set(sys.modules)
"""


def test_importing_is_lazy():
    subprocess.run([sys.executable, "-c", LAZY], check=True, timeout=60, env={"PYTHONPATH": str(SOURCE.parent)})
