"""Files that are given as teachers and hold none that can be read: what each is, and what its owner can do."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import TeacherError, UnsafeFileError
from ..models.torch_file import LEGACY_MAGIC, is_legacy

WEIGHTS = "ask who made it for the weights in PyTorch's format (.safetensors, .pt), which load as ARCH@FILE"
REBUILT = "build the network in PyTorch, copy its weights, and give it in Python to sansdata.Teacher.from_module"
AGAIN = "download it again"
UNPACK = "unpack it and give the file of weights inside"
PICKLE = (
    "a plain pickle, which runs code when it is read",
    "an estimator of scikit-learn's: skops.io.dump(model, 'model.skops'); a network: torch.save(model.state_dict(), "
    "'weights.pt'), then ARCH@weights.pt; any model in Python: sansdata.Teacher.from_module or from_scores",
)
MAGIC: dict[bytes, tuple[str, str]] = {
    b"\x89HDF": ("an HDF5 file, Keras' format", REBUILT),
    b"GGUF": ("a GGUF file of llama.cpp: a language model, no classifier", "give a classifier's weights as ARCH@FILE"),
    b"7z\xbc\xaf": ("a 7z archive", UNPACK),
    b"\x1f\x8b": ("a gzip archive", UNPACK),
    b"BZh": ("a bzip2 archive", UNPACK),
    b"\xfd7zXZ": ("an xz archive", UNPACK),
    b"Rar!": ("a RAR archive", UNPACK),
    b"\x93NUMPY": ("a NumPy array", f"it is no network: {WEIGHTS}"),
    b"<": ("an HTML or XML page; the download went wrong", AGAIN),
    b"{": ("JSON text", "a folder with a config.json and a model.safetensors is given as the folder"),
    b"version https://git-lfs": ("a Git LFS pointer", "run git lfs pull"),
}
"""Beginning of a file -> what it is, what to do."""
SUFFIXES: dict[str, tuple[str, str]] = {
    ".onnx": ("an ONNX model", "give it again under a name that ends in .onnx, as a teacher; it can be no student"),
    ".pt2": (
        "a program of torch.export",
        "loading it could run code, so the program is left alone and its weights are read: ARCH@FILE",
    ),
    ".keras": ("a Keras model", REBUILT),
    ".h5": ("a Keras model", REBUILT),
    ".hdf5": ("a Keras model", REBUILT),
    ".pb": ("a TensorFlow graph", REBUILT),
    ".tflite": ("a TFLite model, which is compiled for devices", f"take the one it was made from: {WEIGHTS}"),
    ".mlmodel": ("a Core ML model", f"take the one it was made from: {WEIGHTS}"),
    ".mlpackage": ("a Core ML model", f"take the one it was made from: {WEIGHTS}"),
    ".engine": ("a TensorRT engine, which is compiled for one GPU", f"take the one it was made from: {WEIGHTS}"),
    ".gguf": MAGIC[b"GGUF"],
    ".npz": ("a NumPy archive", f"it is no network of PyTorch's: {WEIGHTS}"),
    ".npy": MAGIC[b"\x93NUMPY"],
    ".msgpack": ("a Flax checkpoint", REBUILT),
    ".joblib": PICKLE,
    ".pkl": PICKLE,
    ".pickle": PICKLE,
}
"""Ending of a name -> what it is, what to do. A file of torch.save is read whatever its name."""
START = 300


def refuse_foreign(path: Path) -> None:
    """Raises UnsafeFileError that says what the file is and what to do, unless it can be one of torch.save or of
    safetensors. A file that is not there raises nothing."""
    if os.path.isfile(path / "saved_model.pb"):
        raise TeacherError(f"{path}: this is a TensorFlow SavedModel. {_sentence(REBUILT)}")
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        start = file.read(START)
    archive = start.startswith(b"PK")
    if not start or (archive and path.suffix.lower() not in (".pt2", ".keras", ".npz")):
        return
    if path.suffix.lower() == ".safetensors" or is_legacy(start) or LEGACY_MAGIC.startswith(start):
        return
    what, mend = _what_is(start, path.suffix.lower())
    raise UnsafeFileError(f"{path}: this is {what}. {_sentence(mend)}")


def _what_is(start: bytes, suffix: str) -> tuple[str, str]:
    if start[4:8] == b"TFL3":
        return SUFFIXES[".tflite"]
    for magic, answer in MAGIC.items():
        if start.startswith(magic):
            return answer
    if start[257:262] == b"ustar":
        return "a tar archive; PyTorch's format of before 2018 is one, which runs code when it is read", UNPACK
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if start[:1] == b"\x80" or (re.match(rb"[\(\]\}cI-]", start) and b"\n" in start):
        return PICKLE
    if start[:1] == b"\x08" and b"pytorch" in start[:40]:  # protobuf: the version of ONNX, then who made it
        return SUFFIXES[".onnx"]
    return f"not a format of weights we know (it begins with {start[:8]!r})", WEIGHTS


def _sentence(mend: str) -> str:
    return mend[0].upper() + mend[1:]
