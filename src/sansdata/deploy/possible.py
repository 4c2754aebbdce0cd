"""Whether a student that is not made yet can leave as a format: what its task, its SPEC and the libraries say."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from ..errors import MissingLibraryError, StudentError
from ..kinds.index import input_kind
from ..tasks import Task

ONNX = ("onnx", "onnxscript", "onnxruntime")
LIBRARIES = {"onnx": ONNX, "onnx-int8": ONNX, "executorch": ("executorch",), "diffusers": ("diffusers",)}
"""Format -> what writes and asks it."""
GENERATOR = ("noise", "field")


def require_possible(formats: Iterable[str], task: Task | None, student: str) -> None:
    """Raises StudentError or MissingLibraryError for the first format that no student of this task and SPEC leaves as.
    That none is raised promises nothing: a network that cannot be traced shows when it is. task: None where only the
    teacher says what it is."""
    for name in formats:
        missing = [library for library in LIBRARIES.get(name, ()) if find_spec(library) is None]
        if missing:
            raise MissingLibraryError(
                f"--export {name} needs {', '.join(missing)}, which cannot be imported: pip install {' '.join(missing)}"
            )
        if task is not None and (why := _why_not(name, task, student)):
            raise StudentError(f"--export {name}: {why}")


def _why_not(name: str, task: Task, student: str) -> str:
    """What stands against it, or ''."""
    kinds = " x ".join(task.pair)
    if name in ("diffusers", "adapters") and task.pair != GENERATOR:
        return f"it holds a generator, {' x '.join(GENERATOR)}, and this task is {kinds}. For other programs: onnx, pt2"
    if name == "adapters" and not student.startswith("lora") and not Path(student).exists():
        return f"the student '{student[:60]}' has no adapters: distil it with --student lora:8"
    if name == "onnx-int8" and task.pair != ("image", "classes"):
        return f"INT8 is of classifiers of images so far, and this task is {kinds}"
    if name == "executorch" and len(input_kind(task).signature()) != 1:
        return f"programs are written for models that take one tensor so far, and this task is {kinds}"
    return ""
