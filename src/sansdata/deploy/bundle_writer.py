"""A bundle's folder out of a network: written as a whole, and checked as its reader will before it has its name."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import torch

from .. import __version__
from ..compress.rebuild import factories_in
from ..errors import BundleError, ConfigError, StudentError
from ..files import open_regular, own_folder, read_regular, reason, remove, temporary_name, write_json, write_synced
from ..kinds.index import input_kind, output_kind
from ..models.norms import remembers
from ..models.saved import KEY, write_model
from ..models.tensor_file import read_metadata
from ..network import Network
from ..signing import Key
from ..tasks import Task
from ..teachers.bundle import layout
from ..teachers.bundle.golden import golden_arrays
from ..teachers.bundle.manifest import write_sums
from ..teachers.bundle.schema import SCHEMA_VERSION, VendorWord, require_no_expression
from ..teachers.bundle.signature import write_signature
from ..teachers.bundle.verify import Bundle, verify, with_own_files

MONAI = "1.5.0"
"""Whose layout and keys these are; MONAI itself is not needed."""
NO_LICENSE = "No licence came with this model. Nobody but its maker may pass it on.\n"


class BundleSettings(VendorWord):
    """What its maker says of a bundle, beside the model. license, data_license, sbom: files that are copied into it.
    modality: of images, in MONAI's words, such as XR, CT, MR, US."""

    version: str = pydantic.Field(default="1.0.0", pattern=r"^\d{1,6}(\.\d{1,6}){1,3}$")
    description: str = "A model that was bundled by sansdata."
    authors: str = "not stated"
    copyright: str = "not stated"
    modality: str = "n/a"
    license: str = ""
    data_license: str = ""
    sbom: str = ""

    @property
    def vendor(self) -> VendorWord:
        """The part that stands in dfkd.json."""
        return VendorWord(**{name: getattr(self, name) for name in VendorWord.model_fields})


@dataclass(frozen=True)
class Source:
    """What is bundled. file: a student file of ours that is taken as it is, byte for byte, so that its hash stays; None
    writes `module` anew. beside: further files of the bundle by their name in it, such as an ONNX file."""

    module: torch.nn.Module
    task: Task
    architecture: dict[str, Any] | None
    provenance: Mapping[str, Any]
    file: Path | None = None
    card: str = ""
    reference: Mapping[str, Any] | None = None
    beside: Mapping[str, Path] = field(default_factory=dict)


def write_bundle(source: Source, folder: Path, settings: BundleSettings, key: Key | None = None) -> Bundle:
    """Writes the bundle's folder, signed where a private key is given, and gives what its reader makes of it.

    Raises ConfigError where the folder is there or a file cannot be read or written, StudentError for a network that
    only code can make, BundleError where the network does not pass its own checks.
    """
    if source.architecture is None or factories_in(source.architecture):
        raise StudentError("a bundle needs a network that can be built from its description; this one is your code's")
    _require_free(folder)
    draft = temporary_name(folder)
    try:
        draft.mkdir()
        _fill(source, draft, settings, key)
        bundle = verify(draft)
        draft.rename(folder)
        return replace(bundle, task=with_own_files(bundle.task, folder))
    except OSError as fault:
        raise ConfigError(f"{folder}: the bundle cannot be written ({reason(fault)})") from None
    except BundleError as fault:
        shown = str(fault).replace(str(draft), str(folder))
        raise BundleError(
            f"the bundle was not written, because it fails its own check: {shown}", fault.reason
        ) from None
    finally:
        if draft.is_dir():
            remove(draft)
    return bundle


def _require_free(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"--out {folder} is there already; a bundle is made once. Give another name or version")
    if not folder.parent.is_dir():
        raise ConfigError(f"--out {folder}: the folder {folder.parent} does not exist")


def _fill(source: Source, folder: Path, settings: BundleSettings, key: Key | None) -> None:
    for name in layout.FOLDERS:
        own_folder(folder / name)
    weights = folder / layout.WEIGHTS
    if source.file is not None:
        _copy(source.file, weights, layout.WEIGHTS)
    else:
        write_model(weights, source.module, source.architecture, source.task, source.provenance)
    for path, name in source.task.copies().items():
        _copy(path, folder / "models" / name, f"models/{name}")
    network = Network.of(source.module, source.task)
    golden, arrays = golden_arrays(network, source.task)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    write_synced(folder / layout.GOLDEN, packed.getvalue())
    _write_plain(folder / layout.METADATA, monai_metadata(source.task, source.architecture or {}, settings))
    own = {
        "schema_version": SCHEMA_VERSION, "model": json.loads(read_metadata(weights)[KEY]),
        "golden": golden.model_dump(mode="json"), "batch_norm": any(map(remembers, source.module.modules())),
        "vendor": settings.vendor.model_dump(mode="json"),
    }  # fmt: skip
    _write_plain(folder / layout.OWN, own)
    if source.reference is not None:
        _write_plain(folder / layout.REFERENCE, source.reference)
    write_synced(folder / layout.CARD, source.card.encode() or b"# A model\n\nNo card was written for it.\n")
    _copy_files(source, folder, settings)
    sums = write_sums(folder)
    if key is not None:
        write_signature(folder, key, sums)


def _copy_files(source: Source, folder: Path, settings: BundleSettings) -> None:
    if not settings.license:
        write_synced(folder / layout.LICENSE, NO_LICENSE.encode())
    papers = {layout.LICENSE: settings.license, layout.DATA_LICENSE: settings.data_license, layout.SBOM: settings.sbom}
    for name, path in {**papers, **source.beside}.items():
        if path:
            _copy(Path(path), folder / name, name)


def _write_plain(path: Path, value: Mapping[str, Any]) -> None:
    """What no reader of ours would take is not written either."""
    require_no_expression(value, path.name)
    write_json(path, value)


def _copy(source: Path, target: Path, name: str) -> None:
    try:
        if name in (layout.WEIGHTS, layout.ONNX):
            with open_regular(source, layout.MOST[name]) as file, open(target, "xb") as copy:
                shutil.copyfileobj(file, copy)
        else:
            write_synced(target, read_regular(source, layout.MOST.get(name, 0)))
    except OSError as fault:
        raise ConfigError(f"{source}: cannot be copied into the bundle as {name} ({reason(fault)})") from None


# -- MONAI's words


def monai_metadata(task: Task, architecture: Mapping[str, Any], settings: BundleSettings) -> dict[str, Any]:
    """configs/metadata.json: MONAI's mandatory keys, of this model and this machine."""
    return {
        "version": settings.version,
        "monai_version": MONAI,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": _packages(architecture),
        "task": " x ".join(task.pair),
        "description": settings.description,
        "authors": settings.authors,
        "copyright": settings.copyright,
        **({"intended_use": settings.intended_use} if settings.intended_use else {}),
        "network_data_format": {"inputs": _inputs(task, settings.modality), "outputs": _outputs(task)},
    }


def _packages(architecture: Mapping[str, Any]) -> dict[str, str]:
    """The libraries that building the network needs, as they are here."""
    needed, part = {"sansdata": __version__, "safetensors": version("safetensors")}, architecture
    while isinstance(part, Mapping):
        if (kind := part.get("kind")) in ("timm", "torchvision", "diffusers"):
            try:
                needed[str(kind)] = version(str(kind)).partition("+")[0]
            except PackageNotFoundError:
                needed[str(kind)] = "not installed where the bundle was made"
        part = part.get("of")
    return needed


def _inputs(task: Task, modality: str) -> dict[str, Any]:
    if task.pair[0] == "image":
        channels, *sides = task.shape
        names = ("gray",) if channels == 1 else ("R", "G", "B")
        return {
            "image": {
                "type": "image", "format": "magnitude" if channels == 1 else "RGB", "modality": modality,
                "num_channels": channels, "spatial_shape": sides, "dtype": "float32", "value_range": [0, 1],
                "is_patch_data": False, "channel_def": {str(place): name for place, name in enumerate(names)},
            }
        }  # fmt: skip
    return {
        name: {
            "type": task.pair[0], "format": axes.meaning, "modality": modality,
            "num_channels": axes.sizes[0] if axes.sizes else 1, "spatial_shape": list(axes.sizes[1:]),
            "dtype": axes.dtype, "value_range": [], "is_patch_data": False, "channel_def": {},
        }
        for name, axes in input_kind(task).signature().items()
    }  # fmt: skip


def _outputs(task: Task) -> dict[str, Any]:
    name, sizes = output_kind(task).signature()
    count = getattr(task.outputs, "classes", 0)
    return {
        "pred": {
            "type": name, "format": task.pair[1], "num_channels": sizes[0] if sizes else 1,
            "spatial_shape": list(sizes[1:]), "dtype": "float32", "value_range": [], "is_patch_data": False,
            "channel_def": {str(label): task.name_of(label) for label in range(min(count, 10_000))},
        }
    }  # fmt: skip
