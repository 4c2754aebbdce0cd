"""A task is an input side and an output side. ImageTask is the shorthand of images and classes, and what such a task is
written as; PairTask is every other pair."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from ..config import Strict
from ..errors import TaskError
from .classes import MAX_CLASSES, ClassesSpec, check_names, without_unset
from .image import ImageSpec, require_sensible
from .kinds import SPECS, side
from .side import Side

MIN_STD = 1e-6
"""Models compute in float32: a smaller divisor, or a mean above its inverse, gives infinities there."""


class Task(Strict):
    """What every task says: its two sides, and the preprocessing of a network whose file names none of its own.

    `shape`, `classes` and `class_names` are there where a side has them: a method that reads them declares the sides
    that it works on.
    """

    wrong = TaskError

    if TYPE_CHECKING:
        shape: tuple[int, int, int]
        classes: int
        class_names: tuple[str, ...]

        @property
        def inputs(self) -> Any:
            """The Spec of the input side."""

        @property
        def outputs(self) -> Any:
            """The Spec of the output side."""

    @property
    @abstractmethod
    def own_preprocessing(self) -> dict[str, Any]:
        """As a model's file has it; empty is the input kind's default."""

    @abstractmethod
    def seen_through(self, preprocessing: Mapping[str, Any]) -> Task:
        """This task for a network with another preprocessing."""

    @property
    def pair(self) -> tuple[str, str]:
        """The names of both kinds, such as ('image', 'classes')."""
        return self.inputs.kind, self.outputs.kind

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every class, or its number."""
        return self.class_names or tuple(str(number) for number in range(self.classes))

    def name_of(self, label: int) -> str:
        """The name of a class, or its number."""
        names = getattr(self.outputs, "class_names", ())
        return names[label] if names else str(label)

    def files(self) -> dict[Path, str]:
        """Files that the task names, with their role: what a strict run may read besides the task itself."""
        return {Path(path): field for _, field, path in self._named_files()}

    def copies(self) -> dict[Path, str]:
        """Those files with the names of their copies in a run directory, which is of no use without them."""
        return {Path(path): f"{field}{Path(path).suffix}" for _, field, path in self._named_files()}

    def beside(self, folder: Path) -> Task:
        """This task with the copies of its files that lie in `folder`, as a run keeps them, where the files themselves
        are no longer where they were."""
        copies = self.copies()
        gone = [one for one in self._named_files() if not Path(one[2]).is_file()]
        return self._naming([one for one in gone if (folder / copies[Path(one[2])]).is_file()], folder)

    def of_copies(self, folder: Path) -> Task:
        """This task with the copies of its files that lie in `folder`, wherever its own paths lead. Raises TaskError
        for a file without a copy there."""
        copies, named = self.copies(), self._named_files()
        for _, field, path in named:
            if not (folder / copies[Path(path)]).is_file():
                raise TaskError(
                    f"the task names the {field} '{path[:200]}', and its copy '{copies[Path(path)]}' is not in {folder}"
                )
        return self._naming(named, folder)

    def _naming(self, named: Iterable[tuple[str, str, str]], folder: Path) -> Task:
        """With the copies in `folder` in place of the files that are `named`."""
        changed, copies = self, self.copies()
        for name, field, path in named:
            there = getattr(changed, name).model_copy(update={field: str(folder / copies[Path(path)])})
            changed = changed.model_copy(update={name: there})
        return changed

    def _named_files(self) -> list[tuple[str, str, str]]:
        """(side, field, path) of each file that is named."""
        sides = [(name, getattr(self, name)) for name in SPECS]
        named = [(name, field, getattr(side, field)) for name, side in sides for field in side.files]
        return [one for one in named if one[2]]


class ImageTask(Task):
    """Classify an image.

    shape: (channels, height, width). classes: number of classes.
    mean, std: per channel, in unit space (images in 0..1): a model sees (image - mean) / std, unless its file has
    others. class_names: one name per class, or empty. answers: as in ClassesSpec.
    """

    kind: Literal["image"] = "image"
    shape: tuple[int, int, int]
    classes: int = pydantic.Field(ge=2, le=MAX_CLASSES)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] = ()
    answers: int | str | None = None

    @pydantic.model_serializer(mode="wrap")
    def _plain(self, plain: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_unset(plain(self))

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> ImageTask:
        require_sensible(self.shape)
        check_scale(self.mean, self.std, self.channels)
        check_names(self.class_names, self.classes)
        return self

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def inputs(self) -> ImageSpec:
        return ImageSpec(shape=self.shape)

    @property
    def outputs(self) -> ClassesSpec:
        return ClassesSpec(classes=self.classes, class_names=self.class_names, answers=self.answers)

    @property
    def own_preprocessing(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std)}

    def seen_through(self, preprocessing: Mapping[str, Any]) -> ImageTask:
        return self.model_copy(update={name: tuple(preprocessing[name]) for name in ("mean", "std")})


def check_scale(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> None:
    """Raises ValueError unless both have a usable number for each channel."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise ValueError(f"{name} needs {channels} number(s), one per channel, got {len(values)}")
        if not all(math.isfinite(value) for value in values):
            raise ValueError(f"{name} must be finite, got {list(values)}")
        if max(abs(value) for value in values) > 1 / MIN_STD:
            raise ValueError(f"{name} must be within {1 / MIN_STD:g}, got {list(values)}")
    if min(std) < MIN_STD:
        raise ValueError(f"std must be above 0 (at least {MIN_STD:g}), got {list(std)}")


class PairTask(Task):
    """Any input side with any output side. preprocessing: of a network whose file names none; empty is the input kind's
    default."""

    inputs: pydantic.SerializeAsAny[Side]  # type: ignore[assignment]
    outputs: pydantic.SerializeAsAny[Side]  # type: ignore[assignment]
    preprocessing: dict[str, Any] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("inputs", "outputs", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        return side(str(info.field_name), value, "the task") if isinstance(value, Mapping) else value

    @pydantic.model_validator(mode="after")
    def _fitted(self) -> PairTask:
        object.__setattr__(self, "outputs", self.outputs.fitted_to(self.inputs))  # no setting: the model is frozen
        return self

    @property
    def own_preprocessing(self) -> dict[str, Any]:
        return self.outputs.door | self.preprocessing

    def seen_through(self, preprocessing: Mapping[str, Any]) -> PairTask:
        plain, missing = self.outputs.door, object()
        changed = {name: value for name, value in preprocessing.items() if plain.get(name, missing) != value}
        return self.model_copy(update={"preprocessing": changed})

    @property
    def classes(self) -> int:
        return self._of_a_side("classes")

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._of_a_side("class_names")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._of_a_side("shape")

    def _of_a_side(self, field: str) -> Any:
        for one in (self.inputs, self.outputs):
            if field in type(one).model_fields:
                return getattr(one, field)
        raise TaskError(f"a task of {' x '.join(self.pair)} has no '{field}'; it needs a side that has one")

    def __hash__(self) -> int:
        return hash((self.inputs, self.outputs, repr(self.preprocessing)))
