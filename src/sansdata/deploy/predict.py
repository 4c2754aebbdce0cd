"""An exported model, asked: onnxruntime and numpy, nothing else.

This file stands alone: it imports neither torch nor the rest of sansdata, and can be copied beside a model and run as
`python predict.py MODEL INPUTS`. It trusts no file: arrays without pickle, of bounded size.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import resource
import struct
import sys
import time
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 2 * 2**30
"""Of inputs, unpacked."""
MAX_HEADER = 10_000
"""Bytes of text before an array's numbers, as many as numpy reads."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""Decoders of pictures that are used, whatever a file is named: those of EPS and its kin start other programs."""
MAX_PIXELS = 64_000_000
"""Of a picture, as where its kind is read from a folder."""
FAULTS = (
    OSError, ValueError, EOFError, RuntimeError, MemoryError, KeyError, TypeError, OverflowError, SyntaxError,
    zlib.error, struct.error, lzma.LZMAError, tokenize.TokenError, zipfile.BadZipFile,
)  # fmt: skip
"""What a damaged file makes of the parsers of zipfile and numpy."""
CHUNK = 64
WARM_UP = 20
"""Passes before the clock counts."""
SELF_TEST = ".selftest.npz"
"""Ending of the file that travels with a model, in place of its own."""


class PredictError(Exception):
    """The model or the inputs are wrong: what was expected, what came."""


class Model:
    """An ONNX file. Called with columns by name, float or integer arrays with a batch axis, it gives its answers (B,
    ...) float32. threads: of one pass."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        """Raises PredictError for what onnxruntime cannot read, or where it is not there."""
        try:
            import onnxruntime
        except ImportError as fault:
            raise PredictError(f"needs onnxruntime ({fault}): pip install onnxruntime") from None
        self.path = Path(path)
        if not self.path.is_file():
            raise PredictError(f"{self.path}: there is no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as fault:  # onnxruntime's own classes
            raise PredictError(f"{self.path}: onnxruntime cannot read it ({_first_line(fault)})") from None
        self.arguments = {argument.name: argument for argument in self.session.get_inputs()}
        if not self.arguments:
            raise PredictError(f"{self.path}: takes no inputs, so it has no answers to any")
        described = self.session.get_modelmeta().custom_metadata_map
        try:
            names = json.loads(described.get("class_names", "[]"))
        except (ValueError, RecursionError) as fault:
            raise PredictError(f"{self.path}: its class names are no list in JSON ({_first_line(fault)})") from None
        self.class_names = [str(name) for name in names] if isinstance(names, list) else []
        self.answers = described.get("answers", "classes")
        """What it answers with, by the name of its kind: classes exclude each other, labels of a multilabel do not."""
        self.images = described.get("input", "").startswith("images:")
        """Whether it is one of sansdata's that takes images in 0..1."""

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Raises PredictError where the arrays do not fit the model."""
        try:
            return np.asarray(self.session.run(None, {name: columns[name] for name in self.arguments})[0])
        except KeyError as fault:
            raise PredictError(
                f"the model takes {', '.join(self.arguments)}, and the inputs have no {fault}; they have "
                f"{', '.join(columns) or 'nothing'}"
            ) from None
        except Exception as fault:
            raise PredictError(f"the inputs do not fit the model ({_first_line(fault)})") from None

    def all(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The same in chunks, of columns as `fitted` gives them."""
        count = len(next(iter(columns.values())))
        chunks = range(0, count, CHUNK)
        answers = [self({name: one[at : at + CHUNK] for name, one in columns.items()}) for at in chunks]
        if any(not one.size or not one.ndim for one in answers):
            raise PredictError(f"{self.path}: its answers have shape {answers[0].shape}; expected one for each input")
        return np.concatenate(answers)

    def name_of(self, label: int) -> str:
        return self.class_names[label] if label < len(self.class_names) else str(label)


def probabilities(answers: np.ndarray) -> np.ndarray:
    """(B, K) of logits (B, K)."""
    shifted = np.exp(answers - answers.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


# -- inputs


def read_inputs(path: Path, model: Model) -> dict[str, np.ndarray]:
    """Columns of a .npy or .npz file, or one image. Of images: uint8 (N, H, W, C) or (N, H, W) are brought to 0..1 and
    float32 (N, C, H, W) is taken as it is. Raises PredictError."""
    if not path.is_file():
        raise PredictError(f"{path}: there is no such file")
    if path.suffix.lower() in (".npy", ".npz"):
        arrays = _arrays(path)
    elif path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".bmp"):
        arrays = {"images": _picture(path, model)[None]}
    else:
        raise PredictError(f"{path}: expected inputs as .npy, .npz, or a picture (.png, .jpg)")
    return fitted(arrays, model)


def fitted(arrays: Mapping[str, np.ndarray], model: Model) -> dict[str, np.ndarray]:
    """The arrays under the model's own names, images in 0..1 with channels first. Raises PredictError where none has
    such a name, and for what is empty, a single number, or no numbers at all."""
    names = list(model.arguments)
    if len(names) == 1 and names[0] not in arrays:
        known = [name for name in ("x", "images") if name in arrays] or list(arrays)[:1]
        arrays = {names[0]: arrays[known[0]]} if known else {}
    columns = {name: np.asarray(value) for name, value in arrays.items() if name in names}
    if not columns:
        have = ", ".join(name[:40] for name in list(arrays)[:20]) or "nothing"
        raise PredictError(f"the model takes {', '.join(names)}, and the inputs have {have}")
    for name, value in columns.items():
        if value.dtype.kind not in "biuf":
            raise PredictError(f"the inputs are of type {str(value.dtype)[:40]} in '{name}'; expected numbers")
        if not value.ndim:
            raise PredictError(f"'{name}' is a single number; expected an array with an axis of inputs")
        if not value.size:
            raise PredictError("the inputs are empty; give at least one")
    if model.images and names[0] in columns:
        columns[names[0]] = _images(columns[names[0]])
    return columns


def _images(images: np.ndarray) -> np.ndarray:
    """Raises PredictError for whole numbers of which nobody knows what is white."""
    if images.dtype.kind in "biu" and images.dtype != np.uint8:
        raise PredictError(f"the images are of type {images.dtype}; expected uint8 (0..255) or floats in 0..1")
    if images.dtype == np.uint8:
        images = images[..., None] if images.ndim == 3 else images
        return (
            np.ascontiguousarray(images.astype(np.float32).transpose(0, 3, 1, 2) / 255) if images.ndim == 4 else images
        )
    return images.astype(np.float32)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
                if size > MAX_BYTES:
                    raise PredictError(f"{path}: {size:,} bytes once unpacked; at most {MAX_BYTES:,} are read")
                for entry in archive.infolist():
                    with archive.open(entry) as member:
                        _require_array(member.read(12))
            with np.load(path, allow_pickle=False) as opened:
                return {name: opened[name] for name in opened.files}
        with open(path, "rb") as file:
            _require_array(file.read(12))
        mapped = np.load(path, allow_pickle=False, mmap_mode="r")
        if mapped.nbytes > MAX_BYTES:
            raise PredictError(f"{path}: {mapped.nbytes:,} bytes; at most {MAX_BYTES:,} are read")
        return {"x": np.array(mapped)}
    except FAULTS as fault:
        raise PredictError(f"{path}: no arrays that can be read without pickle ({_first_line(fault)})") from None


def _require_array(start: bytes) -> None:
    """Raises ValueError where the first 12 bytes begin no array, or one whose description numpy would read whole before
    it refuses it."""
    if not start.startswith(b"\x93NUMPY") or len(start) < 12:
        raise ValueError("does not begin as an array of numpy does")
    length = int.from_bytes(start[8:10] if start[6] == 1 else start[8:12], "little")
    if length > MAX_HEADER:
        raise ValueError(f"a description of {length:,} bytes; a plain array has fewer than 200")


def _picture(path: Path, model: Model) -> np.ndarray:
    """uint8 (H, W, C), of the size that the model takes, as `sansdata evaluate` reads it."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise PredictError(f"{path}: reading pictures needs Pillow; without it give an array (.npy)") from None
    shape = next(iter(model.arguments.values())).shape
    if len(shape) != 4 or not all(isinstance(size, int) for size in shape[1:]):
        raise PredictError(f"{path}: the model takes {shape} and no pictures")
    try:
        with Image.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise PredictError(f"{path}: {opened.width}x{opened.height} pixels; at most {MAX_PIXELS:,} are read")
            upright = _eight_bit(ImageOps.exif_transpose(opened), path)
            sized = upright.convert("L" if shape[1] == 1 else "RGB")
            picture = sized.resize((shape[3], shape[2]), Image.Resampling.BILINEAR)
    except PredictError:
        raise
    except Exception as fault:
        raise PredictError(f"{path}: no picture that can be read ({_first_line(fault)})") from None
    return np.asarray(picture).reshape(shape[2], shape[3], shape[1])


def _eight_bit(image: Any, path: Path) -> Any:
    """The upper 8 of 16 bits; without transparency. Raises PredictError for what lies deeper, and for a picture that is
    drawn by its transparency alone."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65_535:
            raise PredictError(f"{path}: 32-bit pixels; save it with 8 bits a channel")
        return Image.fromarray((values >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    *colours, alpha = image.convert("RGBA").split()
    flat = [low == high for low, high in (band.getextrema() for band in (*colours, alpha))]
    if all(flat[:3]) and not flat[3]:
        raise PredictError(f"{path}: is drawn by its transparency alone; compose it on white or black")
    return Image.merge("RGB", colours)


# -- the self-test


def self_test(model: Model, path: Path | None = None) -> str:
    """Asks the model what the file beside it asks, and compares: one sentence of what agreed. Raises PredictError where
    the file is of another model, or where the answers differ."""
    path = path or model.path.with_suffix(SELF_TEST)
    if not path.is_file():
        raise PredictError(f"{path}: there is no self-test; `sansdata export` writes one beside the model")
    arrays = _arrays(path)
    try:
        about = json.loads(str(arrays.pop("about")))
        expected, tolerance = arrays.pop("answers").astype(np.float64), float(about["tolerance"])
        least, digest_of_model = float(about["agreement"]), str(about["sha256"])
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as fault:
        raise PredictError(f"{path}: no self-test of sansdata's ({_first_line(fault)})") from None
    if digest(model.path) != digest_of_model:
        raise PredictError(f"{model.path}: its SHA-256 is not that of the file which the self-test was written for")
    answers = model.all(fitted(arrays, model))
    if answers.shape != expected.shape:
        raise PredictError(f"{model.path}: gave answers {answers.shape}, expected {expected.shape}")
    gap = float(np.abs(answers.astype(np.float64) - expected).max())
    same = float((answers.argmax(-1) == expected.argmax(-1)).mean())
    if not (gap <= tolerance and same >= least):  # written so that nan fails
        raise PredictError(
            f"{model.path}: answers differ by {gap:.2g} (at most {tolerance:.2g}), the same class on {same:.1%} "
            f"(at least {least:.0%}): this machine does not compute what the model's maker saw"
        )
    return f"{len(answers)} inputs: answers differ by {gap:.2g} at most, the same class on {same:.1%}"


def write_self_test(path: Path, columns: Mapping[str, np.ndarray], answers: np.ndarray, about: dict[str, Any]) -> None:
    """The file that travels with a model. about: tolerance, agreement (least share of the same class), sha256."""
    with open(path, "xb") as file:
        np.savez_compressed(file, **{**columns, "answers": answers, "about": np.array(json.dumps(about))})  # type: ignore[arg-type]


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- what it costs


def latencies(
    models: Sequence[Callable[[dict[str, np.ndarray]], Any]], columns: Mapping[str, np.ndarray], passes: int = 200
) -> list[dict[str, float]]:
    """Milliseconds of a pass of one input by each model, p50, p95 and p99. The models take turns, so that what else
    the machine does meets them alike."""
    inputs = {name: value[:1] for name, value in columns.items()}
    seconds: list[list[float]] = [[] for _ in models]
    for number in range(WARM_UP + passes):
        for model, taken in zip(models, seconds):
            start = time.perf_counter()
            model(inputs)
            if number >= WARM_UP:
                taken.append(time.perf_counter() - start)
    ends = [np.percentile(np.array(taken) * 1000, [50, 95, 99]) for taken in seconds]
    return [{name: round(float(value), 4) for name, value in zip(("p50", "p95", "p99"), one)} for one in ends]


def peak_memory_mb() -> float:
    """Of this process so far. By the kernel's own account where it has one: what `getrusage` says of a process begins
    with the size of the one that started it."""
    try:
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return round(int(line.split()[1]) / 1024, 1)
    except (OSError, StopIteration, ValueError):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def lines(answers: np.ndarray, model: Model) -> Iterator[str]:
    """One for each input: its number, the class and how surely; of labels that do not exclude each other those above
    one half, with their probabilities; of what names no classes the numbers."""
    if answers.ndim == 2 and model.answers == "multilabel":
        for number, shares in enumerate(1 / (1 + np.exp(-answers.astype(np.float64)))):
            labels = [f"{model.name_of(label)} {share:.4f}" for label, share in enumerate(shares) if share > 0.5]
            yield f"{number}\t{', '.join(labels) or 'none'}"
        return
    if answers.ndim != 2 or model.answers != "classes":
        yield from (f"{number}\t{np.array2string(answer, threshold=8)}" for number, answer in enumerate(answers))
        return
    for number, shares in enumerate(probabilities(answers)):
        label = int(shares.argmax())
        yield f"{number}\t{model.name_of(label)}\t{shares[label]:.4f}"


def _first_line(fault: BaseException) -> str:
    text = next((line.strip() for line in str(fault).splitlines() if line.strip()), "")
    return f"{type(fault).__name__}: {text}"[:300]


def run(
    model: Path,
    inputs: Path | None,
    out: Path | None = None,
    test: bool = False,
    measure: bool = False,
    threads: int = 1,
) -> None:
    """What the command does. Raises PredictError."""
    network = Model(model, threads)
    if test:
        print(f"self-test {self_test(network)}")
    if inputs is None:
        if not test:
            raise PredictError("name a file of inputs (.npy, .npz or a picture), or ask for --self-test")
        return
    columns = read_inputs(inputs, network)
    if measure:
        (ends,) = latencies([network], columns)
        print(json.dumps({**ends, "threads": threads, "peak_memory_mb": peak_memory_mb()}))
        return
    answers = network.all(columns)
    for line in lines(answers, network):
        print(line)
    if out is not None:
        with open(out, "xb") as file:
            np.savez_compressed(file, answers=answers)


def main() -> int:
    """`python predict.py`: 0 done, 2 the input is wrong."""
    parser = argparse.ArgumentParser(description="Ask an exported model; needs onnxruntime and numpy.")
    parser.add_argument("model", type=Path)
    parser.add_argument("inputs", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, help="an .npz file for the answers")
    parser.add_argument("--self-test", dest="test", action="store_true")
    parser.add_argument("--measure", action="store_true", help="latency of one input and peak memory, as JSON")
    parser.add_argument("--threads", type=int, default=1)
    try:
        run(**vars(parser.parse_args()))
    except (PredictError, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
