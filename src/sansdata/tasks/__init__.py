"""What a student's job is: what goes in, what comes out. No torch here, so that a wrong task file answers at once."""

from .base import ImageTask, PairTask, Task
from .classes import MAX_CLASSES, ClassesSpec
from .clip import ClipSpec
from .field import FieldSpec
from .image import ImageSpec
from .known import KNOWN_TASKS
from .masks import VOID, MasksSpec
from .multilabel import MultilabelSpec
from .noise import NoiseSpec
from .prompts import KNOWN_PROMPTS, Prompts
from .reading import load_task, task_from_mapping
from .side import Side
from .span import SpanSpec
from .table import Column, TableSpec
from .tokens import TokensSpec, TwoTextsSpec
from .transcripts import TranscriptSpec
from .vectors import VectorsSpec
from .waveform import WaveformSpec
from .ways import WaysSpec

__all__ = [
    "KNOWN_PROMPTS",
    "KNOWN_TASKS",
    "MAX_CLASSES",
    "VOID",
    "ClassesSpec",
    "ClipSpec",
    "Column",
    "FieldSpec",
    "ImageSpec",
    "ImageTask",
    "MasksSpec",
    "MultilabelSpec",
    "NoiseSpec",
    "PairTask",
    "Prompts",
    "Side",
    "SpanSpec",
    "TableSpec",
    "Task",
    "TokensSpec",
    "TranscriptSpec",
    "TwoTextsSpec",
    "VectorsSpec",
    "WaveformSpec",
    "WaysSpec",
    "load_task",
    "task_from_mapping",
]
