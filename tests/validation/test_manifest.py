"""The list of local cases, as it is meant and as somebody may have broken it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sansdata.errors import DataError
from sansdata.validation.manifest import Salted, read_manifest


def written(folder: Path, text: str) -> Path:
    path = folder / "cases.csv"
    path.write_text(text)
    return path


def test_rows_patients_and_groups(tmp_path: Path) -> None:
    text = "row,label,patient_id,sex\n4,1,anna-77,F\n0,0,bert-12,M\n2,1,anna-77,\n"
    found = read_manifest(written(tmp_path, text))
    assert found.rows is not None
    assert found.rows.tolist() == [4, 0, 2]
    assert found.labels == ("1", "0", "1")
    assert found.patients.tolist() == [0, 1, 0]
    assert found.groups == {"sex": ("F", "M", "unknown")}
    assert found.patients_named


def test_no_patient_is_kept_by_name_and_salts_differ(tmp_path: Path) -> None:
    path = written(tmp_path, "row,label,patient_id\n0,1,anna-77\n1,0,bert-12\n")
    one, other = read_manifest(path), read_manifest(path)
    assert "anna" not in repr(vars(one)) + repr(vars(one.identities))
    assert one.identities._digest("anna-77") != other.identities._digest("anna-77")
    assert one.identities.named_in("worst is anna-77, by far")
    assert not one.identities.named_in("worst is carl-99")


def test_a_group_that_was_not_asked_for_is_left_alone(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n % 2},{n * 3.1},a\n" for n in range(30))
    path = written(tmp_path, "row,label,weight,site\n" + rows)
    assert set(read_manifest(path, ("site",)).groups) == {"site"}
    with pytest.raises(DataError, match="'weight' has 30 values; a group has at most 20"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a header line"),
        ("row,label\n", "expected a header line"),
        ("label,patient_id\n1,a\n", "expected a column path .* or row"),
        ("path,row,label\na.png,1,0\n", "expected a column path .* or row"),
        ("row,label\n1,0,9\n", "case 1 has 3 fields and there are 2 columns"),
        ("row,row\n1,1\n", "a name of its own"),
        ("row,label\n-1,0\n", "rows are whole numbers from 0"),
        ("row,label\n1e3,0\n", "rows are whole numbers from 0"),
        ("row,label\n3,0\n3,1\n", "names a case twice"),
        ("path,label\n/etc/passwd,0\n", "lead down from the folder"),
        ("path,label\na/../../b.png,0\n", "lead down from the folder"),
        ("path,label\n..\\b.png,0\n", "lead down from the folder"),
        ("path,label\n,0\n", "lead down from the folder"),
        ("row,label,patient_id\n1,0,\n", "case 1 has no patient_id"),
        ("row,label,sex\n1,0," + "F" * 61 + "\n", "a name of at most 60 letters"),
        ("row,label\n\x00,0\n", "rows are whole numbers|cannot be read"),
    ],
)
def test_what_is_no_manifest_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_manifest(written(tmp_path, text))


def test_a_link_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "row,label\n1,0\n")
    (tmp_path / "link.csv").symlink_to(path)
    with pytest.raises(DataError, match="a link, which is not followed"):
        read_manifest(tmp_path / "link.csv")
    path.write_bytes(b"row,label\n1,\xff\xfe\n")
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        read_manifest(path)
    with pytest.raises(DataError, match="there is no such manifest"):
        read_manifest(tmp_path / "none.csv")


def test_short_names_are_not_looked_for() -> None:
    names = Salted()
    names("12")
    assert not names.named_in("12 cases")
    assert np.unique([names("a"), names("a"), names("b")]).size == 2
