"""The two descriptions of a bundle, as strict data: MONAI's metadata.json, and our dfkd.json.

In a bundle of MONAI's a text that begins with '$' is Python to be run, '@' names another part of the configuration, and
'_target_' the class to be made: such a description is a program. Here it is refused wherever it stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import pydantic

from ...config import Strict, validate
from ...errors import BundleError, TeacherError
from ...files import parse_json, read_regular, reason
from ...models.saved import Metadata, parse_metadata
from ...tasks import Task
from . import layout

SCHEMA_VERSION = 1
MAX_DEPTH = 20
Text = Annotated[str, pydantic.Field(max_length=20_000)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=200)]


class DataFormat(pydantic.BaseModel, extra="allow"):
    """One tensor that goes in or comes out, in MONAI's words."""

    type: Text
    num_channels: int = pydantic.Field(ge=1)
    spatial_shape: list[int | str]
    dtype: Text


class NetworkFormat(pydantic.BaseModel, extra="allow"):
    inputs: dict[str, DataFormat]
    outputs: dict[str, DataFormat]


class MonaiMetadata(pydantic.BaseModel, extra="allow"):
    """configs/metadata.json: the keys that MONAI asks of every bundle. Others may stand beside them."""

    version: Annotated[str, pydantic.Field(pattern=r"^\d{1,6}(\.\d{1,6}){1,3}$")]
    monai_version: Text
    pytorch_version: Text
    numpy_version: Text
    required_packages_version: dict[str, Text]
    task: Text
    description: Text
    authors: Text
    copyright: Text
    network_data_format: NetworkFormat


class GoldenTest(Strict):
    """How the golden inputs were drawn, and how far an answer may lie from the recorded one, in units of the largest
    answer or of 1 where that is smaller."""

    seed: int = pydantic.Field(ge=0, lt=2**63)
    count: int = pydantic.Field(ge=1, le=4_096)
    tolerance: float = pydantic.Field(gt=0, le=1e-2)


class VendorWord(Strict):
    """What only the vendor knows of the model. privacy: how it was trained, a differential-privacy epsilon if there is
    one, what inversion could show. priors: share of each class in the training data, where disclosed. thresholds: score
    of a class from which it is acted upon. taps: paths of modules for feature alignment. allowed_methods: of
    distillation; empty is any."""

    privacy: Text = ""
    priors: tuple[Share, ...] = ()
    thresholds: dict[Name, Share] = pydantic.Field(default_factory=dict)
    taps: tuple[Name, ...] = ()
    allowed_methods: tuple[Name, ...] = ()
    intended_use: Text = ""


class Description(Strict):
    """configs/dfkd.json. model: as the student file of the weights says it, word for word."""

    schema_version: Literal[1]
    model: dict[str, Any]
    golden: GoldenTest
    batch_norm: bool
    vendor: VendorWord = VendorWord()


def read_metadata(folder: Path) -> MonaiMetadata:
    """Raises BundleError."""
    return _validated(MonaiMetadata, read_plain(folder / layout.METADATA), folder / layout.METADATA)


def read_description(folder: Path) -> tuple[Description, Metadata, Task]:
    """(configs/dfkd.json, what it says of the model, the model's task). Raises BundleError."""
    path = folder / layout.OWN
    fields = read_plain(path)
    if (version := fields.get("schema_version")) != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema_version {version!r:.40}; this sansdata reads {SCHEMA_VERSION}. A newer bundle needs a "
            "newer sansdata", "schema",
        )  # fmt: skip
    described = _validated(Description, fields, path)
    try:
        metadata, task = parse_metadata(json.dumps(described.model), f"{path}: model")
    except TeacherError as fault:
        raise BundleError(str(fault), "schema") from None
    classes = getattr(task.outputs, "classes", None)
    if described.vendor.priors and len(described.vendor.priors) != classes:
        raise BundleError(f"{path}: priors has {len(described.vendor.priors)} shares for {classes} classes", "schema")
    return described, metadata, task


def require_no_expression(value: Any, where: str, path: str = "", depth: int = 0) -> None:
    """Raises BundleError where a reader of MONAI's configurations would run something, or where it is nested too
    deep."""
    if depth > MAX_DEPTH:
        raise BundleError(f"{where}: nested deeper than {MAX_DEPTH} levels", "schema")
    if isinstance(value, str):
        if value.lstrip().startswith(("$", "@", "%")):
            _refuse_expression(where, path, value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key.startswith("_") and key.endswith("_"):
                raise BundleError(
                    f"{where}: '{path}' has the key {key[:60]!r}, which makes a configuration a program (MONAI "
                    "instantiates '_target_'); a bundle is data", "target",
                )  # fmt: skip
            require_no_expression(key, where, f"{path}.{key}"[:200], depth + 1)
            require_no_expression(inner, where, f"{path}.{key}"[:200], depth + 1)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            require_no_expression(inner, where, f"{path}.{place}"[:200], depth + 1)


def _refuse_expression(where: str, path: str, value: str) -> NoReturn:
    raise BundleError(
        f"{where}: '{path.lstrip('.')}' is {value[:60]!r}: a text that begins so is an expression to MONAI, which runs "
        "it; a bundle is data. Write the value itself", "expression",
    )  # fmt: skip


def read_plain(path: Path) -> dict[str, Any]:
    """The object in a file of a bundle, in which nothing could be run. Raises BundleError."""
    try:
        fields = parse_json(read_regular(path, layout.MOST[layout.REFERENCE]))
    except (OSError, ValueError) as fault:
        raise BundleError(f"{path}: no JSON of a sensible size ({reason(fault)})", "schema") from None
    if not isinstance(fields, dict):
        raise BundleError(f"{path}: expected a JSON object, got {type(fields).__name__}", "schema")
    require_no_expression(fields, str(path))
    return fields


def _validated(model: type[Any], fields: Mapping[str, Any], path: Path) -> Any:
    try:
        return validate(model, fields, str(path), error=TeacherError)
    except TeacherError as fault:
        raise BundleError(str(fault), "schema") from None
