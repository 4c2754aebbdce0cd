"""Cases as a manifest names them: from folders, archives, tables, and from what should not be read at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sansdata.errors import DataError
from sansdata.tasks import load_task
from sansdata.validation.cases import load_cases
from sansdata.validation.manifest import read_manifest

TASK = load_task({
    "kind": "image", "shape": [1, 8, 8], "classes": 2, "mean": [0.5], "std": [0.25], "class_names": ["well", "ill"],
})  # fmt: skip
COUNT = 12


def folder_of_images(root: Path) -> Path:
    random = np.random.default_rng(0)
    (root / "scans").mkdir()
    for number in range(COUNT):
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(root / "scans" / f"{number}.png")
    return root


def manifest(path: Path, names: list[str], labels: list[str] | None = None) -> Path:
    labels = labels or ["ill" if number % 3 else "well" for number in range(len(names))]
    rows = [f"{name},{label},p{number // 2}" for number, (name, label) in enumerate(zip(names, labels))]
    path.write_text("path,label,patient_id\n" + "\n".join(rows) + "\n")
    return path


def scans() -> list[str]:
    return [f"scans/{number}.png" for number in range(COUNT)]


def test_images_below_a_folder_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path)
    names = scans()[::-1]
    cases = load_cases(root, TASK, read_manifest(manifest(tmp_path / "m.csv", names)))
    assert len(cases) == COUNT
    assert cases.patient_count == 6
    assert cases.labels.tolist() == [1 if number % 3 else 0 for number in range(COUNT)]
    first = np.asarray(Image.open(root / names[0]))
    assert np.array_equal(cases.data.images[0, ..., 0], first)  # type: ignore[union-attr]
    part = cases.at(np.array([3, 1]))
    assert part.patients.tolist() == [1, 0]
    assert part.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "scans" / "3.png").unlink(), "case 4 of the manifest: there is no such file"),
        (lambda root: (root / "scans" / "3.png").write_bytes(b"no image"), "case 4 of the manifest"),
        (lambda root: linked(root / "scans" / "3.png", root / "scans" / "0.png"), "case 4 .* a link"),
        (lambda root: linked_folder(root), "case 1 .* its folder is not below .* or a link"),
    ],
)
def test_an_image_that_is_not_there_or_led_elsewhere_ends_everything(tmp_path: Path, change, said: str) -> None:
    root = folder_of_images(tmp_path)
    listed = read_manifest(manifest(tmp_path / "m.csv", scans()))
    change(root)
    with pytest.raises(DataError, match=said):
        load_cases(root, TASK, listed)


def linked(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


def linked_folder(root: Path) -> None:
    (root / "scans").rename(root / "elsewhere")
    (root / "scans").symlink_to(root / "elsewhere")


@pytest.mark.parametrize(
    ("names", "labels", "said"),
    [
        (scans()[:9], None, "fewer than 10"),
        (scans(), ["healthy"] * COUNT, "has the class 'healthy'"),
        (scans(), ["7"] * COUNT, "outside 0..1"),
        ([*scans()[:-1], "scans/a.dcm"], None, "pixels of DICOM are not read"),
        ([*scans()[:-1], "m.csv"], None, "no image file"),
    ],
)
def test_cases_that_cannot_be_measured_are_refused(tmp_path: Path, names, labels, said: str) -> None:
    root = folder_of_images(tmp_path)
    with pytest.raises(DataError, match=said):
        load_cases(root, TASK, read_manifest(manifest(tmp_path / "m.csv", names, labels)))


def test_rows_of_an_archive_with_the_labels_of_the_manifest(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=images)
    (tmp_path / "m.csv").write_text("row,label\n" + "".join(f"{19 - n},{n % 2}\n" for n in range(12)))
    cases = load_cases(tmp_path / "d.npz", TASK, read_manifest(tmp_path / "m.csv"))
    assert np.array_equal(cases.data.images[0, ..., 0], images[19])  # type: ignore[union-attr]
    assert cases.labels.tolist() == [0, 1] * 6
    assert any("each case is taken for a patient" in note for note in cases.notes)
    (tmp_path / "m.csv").write_text("row,label\n" + "".join(f"{n + 10},{n % 2}\n" for n in range(12)))
    with pytest.raises(DataError, match="row 20 is not there"):
        load_cases(tmp_path / "d.npz", TASK, read_manifest(tmp_path / "m.csv"))


def test_rows_of_a_table_with_and_without_classes_of_its_own(tmp_path: Path) -> None:
    columns = [{"name": "age", "range": [0, 99]}, {"name": "sex", "levels": ["F", "M"]}]
    task = load_task({"kind": "table-classification", "columns": columns, "classes": 2, "column": "outcome"})
    lines = [f"{30 + n},{'FM'[n % 2]}" for n in range(20)]
    (tmp_path / "t.csv").write_text("age,sex\n" + "\n".join(lines) + "\n")
    (tmp_path / "m.csv").write_text("row,label\n" + "".join(f"{n},{n % 2}\n" for n in range(19, 4, -1)))
    cases = load_cases(tmp_path / "t.csv", task, read_manifest(tmp_path / "m.csv"))
    assert cases.data.packed["numbers"][:, 0].tolist() == [49.0 - n for n in range(15)]  # type: ignore[union-attr,index,call-overload]
    assert cases.labels.tolist() == [n % 2 for n in range(19, 4, -1)]
    both = [f"{line},{n % 2}" for n, line in enumerate(lines)]
    (tmp_path / "t.csv").write_text("age,sex,outcome\n" + "\n".join(both) + "\n")
    (tmp_path / "m.csv").write_text("row,site\n" + "".join(f"{n},a\n" for n in range(12)))
    assert load_cases(tmp_path / "t.csv", task, read_manifest(tmp_path / "m.csv")).labels.tolist() == [0, 1] * 6
