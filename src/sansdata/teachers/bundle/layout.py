"""What lies in a bundle, by name and size: a file of another name, or a larger one, has no place in it.

LICENSE
configs/metadata.json      as MONAI's bundles have it
configs/dfkd.json          the model as sansdata has it, and the vendor's word about it
configs/golden.npz         inputs with the answers that the model must give to them
configs/reference.json     histograms to which a deployed model's own are compared
models/model.safetensors   the weights, a student file of ours
models/model.onnx          for other programs; never read here
docs/README.md             the model card
docs/data_license.txt, docs/sbom.json
SHA256SUMS, model.sig      the hashes of all other files, and the signature
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ...errors import BundleError
from ...files import is_folder, is_regular
from ...models.limits import MAX_FILE_BYTES

LICENSE, METADATA, OWN = "LICENSE", "configs/metadata.json", "configs/dfkd.json"
GOLDEN, REFERENCE = "configs/golden.npz", "configs/reference.json"
WEIGHTS, ONNX, TOKENIZER = "models/model.safetensors", "models/model.onnx", "models/tokenizer.json"
CARD, DATA_LICENSE, SBOM = "docs/README.md", "docs/data_license.txt", "docs/sbom.json"
SUMS, SIGNATURE = "SHA256SUMS", "model.sig"
_MILLION = 1_000_000
MOST: dict[str, int] = {
    LICENSE: _MILLION, METADATA: 4 * _MILLION, OWN: 4 * _MILLION, GOLDEN: 256 * _MILLION, REFERENCE: 16 * _MILLION,
    WEIGHTS: MAX_FILE_BYTES, ONNX: MAX_FILE_BYTES, TOKENIZER: 64 * _MILLION, CARD: 4 * _MILLION,
    DATA_LICENSE: _MILLION, SBOM: 16 * _MILLION, SUMS: 65_536, SIGNATURE: 4 * _MILLION,
}  # fmt: skip
"""Each name that a bundle may have, and the bytes that its file may have."""
NEEDED = (LICENSE, METADATA, OWN, GOLDEN, WEIGHTS, CARD, SUMS)
FOLDERS = ("configs", "docs", "models")
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".bin", ".th", ".ts", ".torchscript")
"""Endings of files whose reading may run code; TorchScript is one of them."""
MAX_BYTES = 2 * MAX_FILE_BYTES
"""Of all files together."""


def is_bundle(spec: str) -> bool:
    """Whether a SPEC names a bundle: a folder with one of its two descriptions, or a .zip file."""
    path = Path(spec)
    try:
        if path.suffix.lower() == ".zip":
            return os.path.isfile(path)
        return any(os.path.isfile(path / name) for name in (OWN, METADATA)) and not os.path.isfile(path / "run.json")
    except ValueError:
        return False


def require_known(name: str, where: str) -> None:
    """Raises BundleError for a file of this name in the bundle `where`."""
    if name in MOST:
        return
    if name.lower().endswith(PICKLED):
        raise BundleError(
            f"{where}: holds {name[:100]!r}, whose reading may run code. Nothing is read from it; a bundle has its "
            f"weights in {WEIGHTS}. Write them anew: sansdata bundle convert", "pickle",
        )  # fmt: skip
    raise BundleError(
        f"{where}: holds {name[:100]!r}, which is no part of a bundle; somebody added it, or it is no bundle", "added"
    )


def files_in(folder: Path) -> list[str]:
    """The names of all files of a bundle's folder, sorted; nothing is opened. Raises BundleError for what is no plain
    file or folder, has an unknown name, or is too large."""
    if not is_folder(folder):
        raise BundleError(f"{folder}: is no folder of its own; name the bundle's folder itself, or its .zip", "link")
    names: list[str] = []
    for inside in ("", *FOLDERS):
        if inside and not os.path.lexists(folder / inside):
            continue
        if not is_folder(folder / inside):
            raise BundleError(f"{folder}: {inside!r} must be a folder, and is {_sort(folder / inside)}", "link")
        with os.scandir(folder / inside) as entries:
            for entry in entries:
                name = f"{inside}/{entry.name}".lstrip("/")
                if not inside and entry.name in FOLDERS:
                    continue
                names.append(_judged(folder, name))
    if sum(os.lstat(folder / name).st_size for name in names) > MAX_BYTES:
        raise BundleError(f"{folder}: more than {MAX_BYTES:,} bytes together", "size")
    return sorted(names)


def require_whole(names: list[str], where: str) -> None:
    """Raises BundleError where a file that every bundle has is not among `names`."""
    for name in NEEDED:
        if name not in names:
            raise BundleError(f"{where}: has no {name}; a file is missing, or this is no bundle of sansdata", "missing")


def _judged(folder: Path, name: str) -> str:
    path = folder / name
    if not is_regular(path):
        raise BundleError(f"{folder}: {name[:100]!r} is {_sort(path)}; nothing is read through it", "link")
    if os.lstat(path).st_nlink > 1:
        raise BundleError(
            f"{folder}: {name[:100]!r} has a second name (a hard link), by which it can be changed", "link"
        )
    require_known(name, str(folder))
    if (size := os.lstat(path).st_size) > MOST[name]:
        raise BundleError(f"{folder}: {name} has {size:,} bytes, more than the {MOST[name]:,} that it may have", "size")
    return name


def _sort(path: Path) -> str:
    mode = os.lstat(path).st_mode
    sorts = ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISREG, "a file"))
    return next((name for test, name in sorts if test(mode)), "a pipe or a device")
