"""The tasks of the tiny worlds."""

from __future__ import annotations

from ...tasks import (
    ClassesSpec,
    ClipSpec,
    Column,
    FieldSpec,
    ImageSpec,
    ImageTask,
    MasksSpec,
    MultilabelSpec,
    NoiseSpec,
    PairTask,
    SpanSpec,
    TableSpec,
    TokensSpec,
    TranscriptSpec,
    TwoTextsSpec,
    WaveformSpec,
)

CLASSES = 4
"""Of every world but that of clips."""


def make_task(shape: tuple[int, int, int] = (1, 8, 8)) -> ImageTask:
    return ImageTask(shape=shape, classes=CLASSES, mean=(0.5,) * shape[0], std=(0.25,) * shape[0])


def make_table_task() -> PairTask:
    """Every sort of column: any number, a whole one, one that may be missing, two categories."""
    columns = (
        Column(name="size", range=(-2.0, 6.0)), Column(name="count", range=(0, 9), whole=True),
        Column(name="doubt", range=(0.0, 1.0), missing=True), Column(name="colour", levels=("red", "green", "blue")),
        Column(name="shape", levels=("round", "square"), missing=True),
    )  # fmt: skip
    return PairTask(inputs=TableSpec(columns=columns), outputs=ClassesSpec(classes=CLASSES))


def make_tokens_task() -> PairTask:
    return PairTask(inputs=TokensSpec(vocabulary=40, length=12), outputs=ClassesSpec(classes=CLASSES))


def make_two_texts_task() -> PairTask:
    inputs = TwoTextsSpec(vocabulary=40, length=10, first_length=14)
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=CLASSES))


def make_spans_task() -> PairTask:
    return PairTask(inputs=TwoTextsSpec(vocabulary=40, length=10, first_length=14), outputs=SpanSpec(longest=4))


def make_masks_task() -> PairTask:
    door = {"mean": [0.5], "std": [0.25]}
    return PairTask(inputs=ImageSpec(shape=(1, 8, 8)), outputs=MasksSpec(classes=CLASSES), preprocessing=door)


def make_clips_task() -> PairTask:
    """Two classes, for which a network may give one map."""
    door = {"mean": [0.2], "std": [0.2]}
    return PairTask(inputs=ClipSpec(shape=(1, 4, 8, 8)), outputs=MasksSpec(classes=2), preprocessing=door)


def make_noise_task() -> PairTask:
    """Points of eight labels, each of them made by a sampler of four steps."""
    outputs = FieldSpec(range=(-3.0, 3.0), steps=4)
    return PairTask(inputs=NoiseSpec(shape=(2,), labels=8), outputs=outputs)


def make_sounds_task() -> PairTask:
    """An eighth of a second in 8 bands of 12 frames."""
    door = {"window": 128, "hop": 96, "mels": 8}
    return PairTask(
        inputs=WaveformSpec(rate=8000, length=1024), outputs=ClassesSpec(classes=CLASSES), preprocessing=door
    )


def make_tags_task() -> PairTask:
    """The same sounds with labels that do not exclude each other."""
    sounds = make_sounds_task()
    return PairTask(inputs=sounds.inputs, outputs=MultilabelSpec(classes=CLASSES), preprocessing=sounds.preprocessing)


def make_transcripts_task() -> PairTask:
    """Four letters of the same sounds."""
    outputs = TranscriptSpec(alphabet="abcd", length=4)  # type: ignore[call-arg]
    door = {"window": 128, "hop": 96, "mels": 8}
    return PairTask(inputs=WaveformSpec(rate=8000, length=1024), outputs=outputs, preprocessing=door)
