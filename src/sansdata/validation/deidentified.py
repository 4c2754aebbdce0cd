"""The gate before pictures of patients: a DICOM file that says whose it is opens nothing.

Only tags are read, up to the pixels. What counts: (0012,0062) Patient Identity Removed is YES, or none of the tags that
name a person has a value, nor any of the type of a person's name, in sequences too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingLibraryError
from ..files import is_regular

SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
MAGIC, AT = b"DICM", 128
MOST_FILES = 200_000
REMOVED = (0x0012, 0x0062)
NAMING = {
    (0x0008, 0x0050): "AccessionNumber",
    (0x0008, 0x0080): "InstitutionName",
    (0x0008, 0x0081): "InstitutionAddress",
    (0x0008, 0x0090): "ReferringPhysicianName",
    (0x0008, 0x0092): "ReferringPhysicianAddress",
    (0x0008, 0x0094): "ReferringPhysicianTelephoneNumbers",
    (0x0008, 0x1048): "PhysiciansOfRecord",
    (0x0008, 0x1050): "PerformingPhysicianName",
    (0x0008, 0x1060): "NameOfPhysiciansReadingStudy",
    (0x0008, 0x1070): "OperatorsName",
    (0x0010, 0x0010): "PatientName",
    (0x0010, 0x0020): "PatientID",
    (0x0010, 0x0021): "IssuerOfPatientID",
    (0x0010, 0x0030): "PatientBirthDate",
    (0x0010, 0x0032): "PatientBirthTime",
    (0x0010, 0x1000): "OtherPatientIDs",
    (0x0010, 0x1001): "OtherPatientNames",
    (0x0010, 0x1002): "OtherPatientIDsSequence",
    (0x0010, 0x1005): "PatientBirthName",
    (0x0010, 0x1040): "PatientAddress",
    (0x0010, 0x1060): "PatientMotherBirthName",
    (0x0010, 0x2154): "PatientTelephoneNumbers",
    (0x0038, 0x0300): "CurrentPatientLocation",
    (0x0038, 0x0400): "PatientInstitutionResidence",
}
"""Tags of the basic confidentiality profile (DICOM PS3.15, annex E) that name a person, or lead to one."""


def require_deidentified(root: Path) -> int:
    """How many DICOM files lie below the folder `root`, all of them without names.

    Raises DataError for the first that names a person or cannot be read, without repeating what it says; and
    MissingLibraryError where there are some and pydicom is not installed.
    """
    several = list(_dicom_files(root))
    reader = _pydicom() if several else None
    for path in several:
        _require(reader, path, root)
    return len(several)


def _dicom_files(root: Path) -> Iterator[Path]:
    """By their suffix or by the four letters behind the preamble. Links are not followed; they are not read either."""
    count = 0
    for place, _, names in os.walk(root):
        for name in sorted(names):
            count += 1
            if count > MOST_FILES:
                raise DataError(f"{root}: more than {MOST_FILES:,} files; give a folder that holds the cases alone")
            path = Path(place, name)
            if is_regular(path) and (path.suffix.lower() in SUFFIXES or _begins_as_dicom(path)):
                yield path


def _begins_as_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(AT + 4)[AT:] == MAGIC
    except OSError as fault:
        raise DataError(f"{path}: cannot be opened ({fault.strerror})") from None


def _require(reader: Any, path: Path, root: Path) -> None:
    place = path.relative_to(root)
    try:
        tags = reader.dcmread(path, stop_before_pixels=True, force=False)
        removed = str(tags[REMOVED].value).strip().upper() if REMOVED in tags else ""
        whole = "MediaStorageSOPClassUID" in tags.file_meta and "TransferSyntaxUID" in tags.file_meta
        named = [name for one in tags.iterall() if (name := _names(one))]
    except Exception as fault:  # a reader of broken files raises anything, and its words may quote the file
        raise DataError(f"{place}: cannot be read as DICOM ({type(fault).__name__})") from None
    if not whole:
        raise DataError(f"{place}: cannot be read as DICOM (its header does not say what it holds)")
    if removed != "YES" and named:
        raise DataError(
            f"{place}: a DICOM file that is not de-identified: it has {', '.join(named[:4])}"
            f"{' and more' if len(named) > 4 else ''}, and (0012,0062) Patient Identity Removed is "
            f"{removed or 'absent'}. De-identify the folder first; nothing was measured"
        )


def _names(element: Any) -> str:
    """What an element is called that names a person, whether at the top or within a sequence; else ''."""
    known = NAMING.get((element.tag.group, element.tag.element), "")
    name = known or ("a person's name" if element.VR == "PN" else "")
    return name if str(element.value or "").strip() not in ("", "[]") else ""


def _pydicom() -> Any:
    try:
        return import_module("pydicom")
    except ImportError:
        raise MissingLibraryError(
            "the folder holds DICOM files, whose tags are read by pydicom, which is not installed: pip install pydicom "
            '(the extra "dicom")'
        ) from None
