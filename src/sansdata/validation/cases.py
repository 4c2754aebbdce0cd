"""Local cases as they are asked about: the inputs that a manifest names, with what is true of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..datasets.fit import check_memory, fit
from ..datasets.imageset import ImageSet, check_labels
from ..datasets.labelled import KindSet
from ..datasets.load import load_set
from ..datasets.tables import KNOWN, class_numbers, load_rows, require_places
from ..decoding.arrays import read_images
from ..decoding.images import Background, Unreadable, decode
from ..decoding.limits import IMAGE_SUFFIXES
from ..errors import DataError
from ..files import is_folder, is_regular
from ..tasks import Task
from .deidentified import SUFFIXES, require_deidentified
from .manifest import Manifest, Salted

LEAST = 10
"""Cases below which nothing is measured: any figure would be about persons."""


@dataclass(frozen=True, eq=False)
class Cases:
    """data: the inputs with their labels, in the order of the manifest. patients (N,) int64: whose each is, 0..P-1.
    groups: column -> text (N,). identities: names that must not leave. notes: what was done, of all cases together."""

    data: ImageSet | KindSet
    patients: np.ndarray
    groups: dict[str, np.ndarray]
    identities: Salted
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64."""
        return self.data.labels

    @property
    def patient_count(self) -> int:
        return len(np.unique(self.patients))

    def at(self, index: np.ndarray) -> Cases:
        """The cases at `index` (M,), in that order."""
        groups = {name: values[index] for name, values in self.groups.items()}
        return replace(self, data=self.data.subset(index, ""), patients=self.patients[index], groups=groups)


def load_cases(data: str | Path, task: Task, manifest: Manifest, background: Background | None = None) -> Cases:
    """The cases of `manifest` in `data`: files below a folder of images, or rows of a set as datasets.load reads it.

    Labels are the manifest's, names of classes or their numbers; where it has none, those of the set. Of images in a
    folder none is followed through a link, and one that cannot be read is an error: a case that is left out silently
    changes every figure. Raises DataError, and what `require_deidentified` raises.
    """
    if task.pair[1] != "classes":
        raise DataError(f"local cases are of classifiers, and this is a task of {' x '.join(task.pair)}")
    require_enough(len(manifest), "cases")
    notes: list[str] = []
    if manifest.paths is not None:
        inputs, notes = _from_folder(Path(data).expanduser(), task, manifest, background)
    else:
        inputs = _from_set(data, task, manifest)
    inputs.require_fit(task)
    if not manifest.patients_named:
        notes.append("the manifest names no patients: each case is taken for a patient of its own")
    groups = {name: np.array(values) for name, values in manifest.groups.items()}
    return Cases(inputs, manifest.patients, groups, manifest.identities, (*inputs.notes, *notes))


def cases_of_set(data: ImageSet | KindSet, groups: dict[str, np.ndarray]) -> Cases:
    """A whole set without a manifest: each input is taken for a patient of its own. Raises DataError."""
    require_enough(len(data), "cases")
    return Cases(data, np.arange(len(data)), groups, Salted(), data.notes)


def require_enough(count: int, what: str) -> None:
    """Raises DataError for fewer than LEAST."""
    if count < LEAST:
        raise DataError(f"{count} {what}: fewer than {LEAST}, of which any figure would be about persons")


def _from_folder(
    root: Path, task: Task, manifest: Manifest, background: Background | None
) -> tuple[ImageSet, list[str]]:
    assert manifest.paths is not None
    if task.pair[0] != "image":
        raise DataError(f"paths name images, and this task is of {task.pair[0]}: name cases by a column row")
    if not root.is_dir():
        raise DataError(f"{str(root)[:200]}: expected the folder below which the manifest's paths lie")
    dicom = require_deidentified(root)
    names = task.names
    labels = _labels(manifest, names, None)
    channels, height, width = task.shape
    check_memory(len(manifest), task.shape, str(root))
    images = np.empty((len(manifest), height, width, channels), np.uint8)
    remarks: Counter[str] = Counter()
    for place, name in enumerate(manifest.paths):
        images[place], remark = _decode(root, name, place, task, background)
        remarks.update(remark)
    notes = [f"{count} of {len(manifest)} images: {what}" for what, count in sorted(remarks.items())]
    notes += [f"{dicom} DICOM files in the folder passed the gate; their pixels are not read"] if dicom else []
    return ImageSet(images, labels, names, str(root)), notes


def _decode(
    root: Path, name: str, place: int, task: Task, background: Background | None
) -> tuple[np.ndarray, list[str]]:
    """One image, by the number of its case: its name may be a person's."""
    path, case = root, f"case {place + 1} of the manifest"
    for part in PurePosixPath(name).parts[:-1]:
        path = path / part
        if not is_folder(path):
            raise DataError(f"{case}: its folder is not below {root}, or a link, which is not followed")
    path = path / PurePosixPath(name).name
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        raise DataError(f"{case}: pixels of DICOM are not read, since what is seen depends on the window; write a .png")
    if suffix not in IMAGE_SUFFIXES:
        raise DataError(f"{case}: no image file; read are {', '.join(IMAGE_SUFFIXES)}")
    if not is_regular(path):
        raise DataError(f"{case}: there is no such file below {root}, or it is a link, which is not followed")
    try:
        return decode(path, task.shape, background)
    except Unreadable as fault:
        raise DataError(f"{case}: {fault}") from None


def _from_set(data: str | Path, task: Task, manifest: Manifest) -> ImageSet | KindSet:
    assert manifest.rows is not None
    path, names = Path(data).expanduser(), task.names
    is_file = str(data) not in KNOWN and path.is_file()
    if manifest.labels is not None and is_file and task.pair[0] == "table" and path.suffix.lower() != ".npz":
        return load_rows(path, task, manifest.rows, manifest.labels)
    if manifest.labels is not None and is_file and task.pair[0] == "image":
        images = read_images(path)
        require_places(manifest.rows, len(images), str(path))
        return fit(ImageSet(images[manifest.rows], _labels(manifest, names, None), names, str(path)), task, False)
    whole = load_set(data, task)
    assert isinstance(whole, ImageSet | KindSet)
    require_places(manifest.rows, len(whole), whole.source)
    chosen = whole.subset(manifest.rows, f"{len(manifest):,} of {len(whole):,} by the manifest")
    return replace(chosen, labels=_labels(manifest, chosen.class_names, chosen.labels))


def _labels(manifest: Manifest, names: tuple[str, ...], own: np.ndarray | None) -> np.ndarray:
    if manifest.labels is None:
        if own is None:
            raise DataError("the manifest needs a column label: a folder of images does not say what is true of them")
        return own
    labels = class_numbers(manifest.labels, names, "the manifest")
    check_labels(labels, len(names), "the manifest")
    return labels
