"""The gate before DICOM files, with files as pydicom writes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from sansdata.errors import DataError, MissingLibraryError
from sansdata.validation import deidentified
from sansdata.validation.deidentified import require_deidentified

needs_pydicom = pytest.mark.skipif(importlib.util.find_spec("pydicom") is None, reason="needs pydicom")


def dicom(path: Path, **tags: Any) -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    written = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in {"Modality": "CR", **tags}.items():
        setattr(written, name, value)
    written.save_as(path, enforce_file_format=True)
    return path


@needs_pydicom
@pytest.mark.parametrize("tags", [{}, {"PatientName": ""}, {"PatientID": "x7", "PatientIdentityRemoved": "YES"}])
def test_files_without_names_or_marked_as_deidentified_pass(tmp_path: Path, tags: dict[str, str]) -> None:
    (tmp_path / "deep").mkdir()
    dicom(tmp_path / "deep" / "scan.dcm", **tags)
    assert require_deidentified(tmp_path) == 1


@needs_pydicom
@pytest.mark.parametrize(
    "tags",
    [
        {"PatientName": "Doe^Jane"},
        {"PatientID": "4711", "PatientIdentityRemoved": "NO"},
        {"PatientBirthDate": "19700101"},
        {"InstitutionName": "St. Elsewhere"},
        {"AccessionNumber": "A-1"},
    ],
)
@pytest.mark.parametrize("name", ["scan.dcm", "scan", "scan.png"])
def test_a_file_that_names_a_person_is_refused_whatever_it_is_called(tmp_path: Path, tags, name: str) -> None:
    dicom(tmp_path / name, **tags)
    with pytest.raises(DataError, match="not de-identified") as refused:
        require_deidentified(tmp_path)
    assert not any(str(value) in str(refused.value) for value in tags.values() if value != "NO")


@needs_pydicom
def test_a_broken_file_is_refused_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"Doe^Jane" * 30)
    with pytest.raises(DataError, match=r"scan\.dcm: cannot be read as DICOM") as refused:
        require_deidentified(tmp_path)
    assert "Jane" not in str(refused.value)


def test_without_pydicom_a_folder_with_dicom_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(deidentified, "import_module", missing)
    assert require_deidentified(tmp_path) == 0
    (tmp_path / "scan.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(MissingLibraryError, match="pip install pydicom"):
        require_deidentified(tmp_path)


@needs_pydicom
def test_a_name_within_a_sequence_counts(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    inner = Dataset()
    inner.VerifyingObserverName = "Doe^Jane"
    dicom(tmp_path / "scan.dcm", VerifyingObserverSequence=[inner])
    with pytest.raises(DataError, match="a person's name"):
        require_deidentified(tmp_path)
