"""Worlds of language models, of made-up languages in which each class has words of its own."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from ...models.build import architecture_of, build
from ...tasks import (
    ClassesSpec,
    PairTask,
    SpanSpec,
    Task,
    TokensSpec,
    TwoTextsSpec,
)
from ...teachers.base import Teacher
from ...teachers.writers import asking, cached_ngram, continuing
from ...teachers.writers.asking import AskingNGrams
from ...teachers.writers.cached_ngram import CachedNGrams
from ...teachers.writers.continuing import ContinuingNGrams
from ...teachers.writers.files import save_writer
from ...teachers.writers.ngram import KIND, NGrams
from ...teachers.writers.teacher import teacher_of
from ...teachers.writers.vocabulary import tokenizer_of
from .base import World
from .tasks import CLASSES


@dataclass(frozen=True)
class WriterWorld(World):
    """A teacher that writes: trigrams of a made-up language in which each class has words of its own."""

    task: Task = field(init=False)
    network: str = ""
    small: ClassVar[str] = "bag"

    def __post_init__(self) -> None:
        """The task is made when it is first asked for, since its tokenizer is a file."""

    def __getattr__(self, name: str) -> Any:
        if name != "task":
            raise AttributeError(name)
        folder = tempfile.TemporaryDirectory(prefix="sansdata-world-")  # removed when the process ends
        file = Path(folder.name) / "tokenizer.json"
        file.write_bytes(tokenizer_of(self.texts(), 60, words="spaces"))
        task = PairTask(inputs=self.inputs(str(file)), outputs=self.outputs())
        self.__dict__.update(task=task, folder=folder)
        return task

    def texts(self) -> list[str]:
        return [text for text, _ in made_up_texts()]

    def outputs(self) -> Any:
        return _named_classes()

    def inputs(self, tokenizer: str) -> Any:
        return TokensSpec(vocabulary=60, length=12, tokenizer=tokenizer)

    def writer(self) -> NGrams:
        return NGrams.fitted(made_up_texts(), self.task.class_names)

    def teacher(self) -> Teacher:
        return teacher_of(self.writer(), self.task)

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(architecture_of(self.small, self.task))

    def save(self, path: Path) -> None:
        writer = self.writer()
        save_writer(path, KIND, writer.classes, writer.vocabulary, writer.tensors())

    def spec(self, path: Path) -> str:
        return str(path)


@dataclass(frozen=True)
class WordedWorld(WriterWorld):
    """A classifier of texts whose task has a tokenizer, beside the texts of the writer's world."""

    def teacher(self) -> Teacher:
        return Teacher.from_module(self._sharp(), self.task)

    def _sharp(self) -> nn.Module:
        module: Any = self.module()
        with torch.no_grad():
            module.head.weight.mul_(8)
            module.embedding.weight.mul_(3)
        return module.eval()

    def save(self, path: Path) -> None:
        save_file({name: value.contiguous() for name, value in self._sharp().state_dict().items()}, path)

    def spec(self, path: Path) -> str:
        return f"{self.small}@{path}"


def save_continuing_writer(path: Path) -> Path:
    """A language model of the texts of the writer's world, without their classes."""
    writer = ContinuingNGrams.of_texts([text for text, _ in made_up_texts()])
    save_writer(path, continuing.KIND, [continuing.ANY], writer.vocabulary, writer.tensors())
    return path


@dataclass(frozen=True)
class TwoTextsWriterWorld(WriterWorld):
    """One that writes second texts to first ones, which it writes too: half of their words are of the first."""

    small: ClassVar[str] = "siamese-bag"

    def inputs(self, tokenizer: str) -> Any:
        return TwoTextsSpec(vocabulary=60, length=12, first_length=10, tokenizer=tokenizer)

    def writer(self) -> CachedNGrams:  # type: ignore[override]
        texts = made_up_texts()
        firsts = [texts[(7 * place) % len(texts)][0] for place in range(len(texts))]
        both = [
            (first, f"{text} {' '.join(first.split()[: 2 * label])}", label)
            for first, (text, label) in zip(firsts, texts)
        ]
        return CachedNGrams.fitted(both, self.task.class_names)

    def save(self, path: Path) -> None:
        writer = self.writer()
        save_writer(path, cached_ngram.KIND, writer.classes, writer.vocabulary, writer.tensors())


@dataclass(frozen=True)
class AskerWorld(WriterWorld):
    """One that writes questions for parts of contexts: who or how many, and words that stand beside the answer."""

    small: ClassVar[str] = "span-conv"

    def outputs(self) -> Any:
        return SpanSpec(longest=4)

    def texts(self) -> list[str]:
        return [text for context, question, _ in made_up_questions() for text in (context, question)]

    def inputs(self, tokenizer: str) -> Any:
        return TwoTextsSpec(vocabulary=60, length=10, first_length=14, tokenizer=tokenizer)

    def writer(self) -> AskingNGrams:  # type: ignore[override]
        return AskingNGrams.of_questions(made_up_questions())

    def save(self, path: Path) -> None:
        writer = self.writer()
        save_writer(path, asking.KIND, asking.SORTS, writer.vocabulary, writer.tensors())


def _named_classes() -> ClassesSpec:
    return ClassesSpec(classes=CLASSES, class_names=tuple(f"class {number}" for number in range(CLASSES)))


def made_up_texts(count: int = 40) -> list[tuple[str, int]]:
    """(text, class): words of ten that all classes share and of five that only one has."""
    random = np.random.default_rng(5)
    texts = []
    for number in range(count * CLASSES):
        label = number % CLASSES
        words = [f"w{word}" if word < 10 else f"c{label}w{word}" for word in random.integers(0, 15, 8)]
        texts.append((" ".join(words), label))
    return texts


def made_up_questions(count: int = 60) -> list[tuple[str, str, str]]:
    """(context, question, answer): one that did something a number of times with another; who did it, or how often."""
    random = np.random.default_rng(7)
    rows = []
    for number in range(count):
        who, what, whom = (f"{word}{'abcdef'[random.integers(0, 6)]}" for word in ("kind", "verb", "other"))
        context = f"the {who} and {what} for {number % 7 + 1} of {whom}"
        if number % 3:
            rows.append((context, f"who is the one and {what} of {whom}", who))
        else:
            rows.append((context, f"how many of {whom} are for {who}", str(number % 7 + 1)))
    return rows
