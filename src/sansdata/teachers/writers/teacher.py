"""A writer as a teacher: what it answers, and that it writes."""

from __future__ import annotations

from collections.abc import Sequence

from ...contracts import Access
from ...tasks import Task
from ..base import Teacher
from .base import GENERATES, Writer
from .prompted import Prompted
from .prompted_spans import PromptedSpans


def teacher_of(writer: Writer, task: Task, sha256: str | None = None, notes: Sequence[str] = ()) -> Teacher:
    """The writer as a teacher of the task's classes, or of answers in its contexts: asked for its scores, or where it
    shows none for a label. Raises TeacherError where the task does not tell this writer enough."""
    most = Access.SCORES if writer.scores else Access.LABELS
    module = PromptedSpans(writer, task) if task.pair[1] == "span" else Prompted(writer, task)
    return Teacher(
        module.eval(), task, None, writer.source, sha256, most=most, notes=notes, capabilities={GENERATES: writer}
    )
