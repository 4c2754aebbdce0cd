"""What lies in a folder with one sub-folder per class: the images, their classes, and all that is not read."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..decoding.limits import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES
from ..errors import DataError, did_you_mean
from ..tasks import Task
from .fit import numbers

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
KINDS_NAMED = 5
"""Suffixes of files that are not read, one by one."""


@dataclass
class Layout:
    """files: (path, class). skipped: images that are there and cannot be read as they lie, with the reason. notes: what
    else a reader should know of the folder, in plain words."""

    files: list[tuple[Path, int]]
    class_names: tuple[str, ...]
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def survey(root: Path, task: Task | None) -> Layout:
    """The layout of `root`. Raises DataError where its sub-folders are not the classes of the task."""
    folders, beside = _class_folders(root)
    class_names, labels, note = _classes(root, folders, task)
    layout = Layout([], class_names, notes=[note] if note else [])
    left: list[Path] = []
    for name, folder in folders.items():
        for path in _entries(folder):
            reason = _why_not_read(path)
            if reason is None:
                layout.files.append((path, labels[name]))
            elif reason:
                layout.skipped.append(f"{name}/{path.name}: {reason}")
            elif _visible_folder(path):
                layout.skipped += [
                    f"{name}/{deep}: lies deeper than its class's folder" for deep in _images_below(path)
                ]
            else:
                left.append(path)
    for path in beside:
        if _why_not_read(path) == "":
            left.append(path)
        else:
            layout.skipped.append(f"{path.name}: lies beside the class folders")
    if left:
        layout.notes.append(other_files(root, left))
    return layout


def deeper(folders: Iterator[Path] | list[Path]) -> str:
    """Advice where the classes seem to lie one level further down."""
    for folder in folders:
        entries = _entries(folder)
        if not any(_why_not_read(path) is None for path in entries) and any(_visible_folder(path) for path in entries):
            return f" '{folder.name}' holds sub-folders itself: did you mean {folder}?"
    return ""


# -- files


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as fault:
        raise DataError(f"{folder}: cannot be listed ({fault.strerror})") from None


def _visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _why_not_read(path: Path) -> str | None:
    """None for an image file, the reason for an image that is not read, '' for what is no image."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or path.is_dir():
        return ""
    if suffix in OTHER_IMAGE_SUFFIXES:
        return f"images of kind {suffix} are not read; convert them, for instance to .png"
    if suffix not in IMAGE_SUFFIXES:
        return ""
    # is_file, because a pipe named like an image would block for ever
    return None if path.is_file() else "no file, nor a link to one"


def _images_below(folder: Path) -> list[str]:
    """Paths of the images below a sub-folder, from its own name on; links to folders are not followed."""
    return [
        str((Path(place) / name).relative_to(folder.parent))
        for place, _, names in os.walk(folder)
        for name in sorted(names)
        if _why_not_read(Path(place, name)) != ""
    ]


def other_files(root: Path, left: list[Path]) -> str:
    """A note on what is not taken for an image: '3 other files are not read (.zip 2, hidden 1), the first is ...'."""
    kinds = Counter("hidden" if p.name.startswith(".") else p.suffix.lower() or "without suffix" for p in left)
    listed = ", ".join(f"{kind[:20]} {n}" for kind, n in kinds.most_common(KINDS_NAMED))
    more = ", ..." if len(kinds) > KINDS_NAMED else ""
    return f"{len(left)} other file(s) are not read ({listed}{more}), the first is {left[0].relative_to(root)}"


# -- classes


def _class_folders(root: Path) -> tuple[dict[str, Path], list[Path]]:
    """(class name -> folder, sorted as text; what lies beside them).

    Names are composed (NFC), because some file systems store accents apart.
    """
    entries = _entries(root)
    folders = [path for path in entries if _visible_folder(path)]
    if not folders:
        raise DataError(f"{root}: expected one sub-folder per class, found none")
    named = dict(sorted((unicodedata.normalize("NFC", path.name), path) for path in folders))
    if len(named) != len(folders):
        raise DataError(f"{root}: two sub-folders have the same name but for how accents are stored; rename one")
    return named, [path for path in entries if not path.is_dir()]


def _classes(root: Path, folders: dict[str, Path], task: Task | None) -> tuple[tuple[str, ...], dict[str, int], str]:
    """(names of the classes, folder -> class, a note or '').

    By the task's names where they are the folders'; else folders named by numbers are the classes of these numbers, or,
    where they do not begin with 0, in the order of their numbers; else in the order of their names as text.
    """
    by_number = _numbered(root, folders)
    if task is not None and task.class_names:
        return _by_name(root, folders, by_number, task)
    classes = task.classes if task is not None else len(folders)
    if by_number is not None and task is not None and all(0 <= number < classes for number in by_number.values()):
        names = list(numbers(classes))
        for name, number in by_number.items():
            names[number] = name
        return tuple(names), by_number, ""
    if len(folders) != classes:
        raise DataError(
            f"{root}: {len(folders)} sub-folders, but the task has {classes} classes without names. "
            "Give the task class_names, or one sub-folder for each class"
        )
    order, note = list(folders), ""
    if by_number is not None:
        order.sort(key=by_number.__getitem__)
        if task is not None:
            note = f"class folders are numbered from {order[0]} to {order[-1]}: taken in the order of their numbers"
    elif order != sorted(order, key=_as_people_count):
        first = next(i for i, pair in enumerate(zip(order, sorted(order, key=_as_people_count))) if pair[0] != pair[1])
        note = (
            f"class folders are taken in the order of their names as text: class {first} is '{order[first]}'. Give the "
            "task class_names if its classes have another order"
        )
    return tuple(order), {name: place for place, name in enumerate(order)}, note


def _by_name(
    root: Path, folders: dict[str, Path], by_number: dict[str, int] | None, task: Task
) -> tuple[tuple[str, ...], dict[str, int], str]:
    names = tuple(unicodedata.normalize("NFC", name) for name in task.class_names)
    if folders.keys() <= set(names):
        return names, {name: names.index(name) for name in folders}, ""
    if by_number is not None:
        named_by_number = all(WHOLE_NUMBER.fullmatch(name) for name in names)
        places = {int(name) if named_by_number else place: place for place, name in enumerate(names)}
        if set(by_number.values()) <= places.keys():
            note = "" if named_by_number else "class folders are numbers: taken as the numbers of the task's classes"
            return names, {name: places[number] for name, number in by_number.items()}, note
    stranger = next(name for name in folders if name not in names)
    raise DataError(
        f"{root}: sub-folder '{stranger}' is no class of the task. {did_you_mean(stranger, names[:50])}"
        + deeper(list(folders.values()))
    )


def _numbered(root: Path, folders: dict[str, Path]) -> dict[str, int] | None:
    """Folder -> its number where all are whole numbers, padded or signed; else None."""
    if not all(WHOLE_NUMBER.fullmatch(name) and len(name) <= 20 for name in folders):
        return None
    by_number = {name: int(name) for name in folders}
    if len(set(by_number.values())) < len(by_number):
        twice = next(n for n, times in Counter(by_number.values()).items() if times > 1)
        alike = " and ".join(f"'{name}'" for name, number in by_number.items() if number == twice)
        raise DataError(f"{root}: sub-folders {alike} are the same number; which class is which? Rename one")
    return by_number


def _as_people_count(name: str) -> list[tuple[int, str]]:
    """A key that puts 'class2' before 'class10'."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name) if part]
