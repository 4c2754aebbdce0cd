"""An exported model as MLflow keeps its models: plain files, of which MLmodel names the flavour and what goes in and
out. MLflow itself is not needed. Layout: MLflow's documentation of the MLmodel format, flavours onnx and
python_function."""

from __future__ import annotations

import json
import platform
import shutil
import time
import uuid
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..config import dump_yaml
from ..errors import ConfigError
from ..files import is_regular, open_regular, reason, remove, sha256, temporary_name, write_synced
from ..kinds.index import input_kind, output_kind
from ..models.limits import MAX_FILE_BYTES
from ..tasks import Task

MLFLOW = "3.1.0"
"""The release whose layout this is."""
ONNX = "model.onnx"


def write_mlflow(model: Path, task: Task, folder: Path, card: str = "") -> None:
    """Writes the new folder with the ONNX file `model`. Raises ConfigError where there is no such file, or where the
    folder is there already or cannot be written."""
    if not is_regular(model):
        raise ConfigError(f"{model}: no such file; write it first: sansdata export {model.parent} --to onnx")
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder}: is there already; give another name for the model of MLflow")
    draft = temporary_name(folder)
    try:
        draft.mkdir()
        with open_regular(model, MAX_FILE_BYTES) as source, open(draft / ONNX, "xb") as copy:
            shutil.copyfileobj(source, copy)
        for name, text in _files(draft / ONNX, task, card).items():
            write_synced(draft / name, text.encode("utf-8", "replace"))
        draft.rename(folder)
    except OSError as fault:
        raise ConfigError(f"{folder}: cannot be written ({reason(fault)})") from None
    finally:
        if draft.is_dir():
            remove(draft)


def _files(model: Path, task: Task, card: str) -> dict[str, str]:
    """name -> text of each file beside the model."""
    requirements = [f"{name}=={version}" for name in ("onnx", "onnxruntime", "numpy") if (version := _version(name))]
    python = platform.python_version()
    conda = {"channels": ["conda-forge"], "dependencies": [f"python={python}", "pip", {"pip": requirements}],
             "name": "mlflow-env"}  # fmt: skip
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    return {
        "MLmodel": dump_yaml(_mlmodel(model, task)), "conda.yaml": dump_yaml(conda),
        "python_env.yaml": dump_yaml(environment), "requirements.txt": "".join(f"{one}\n" for one in requirements),
        **({"README.md": card} if card else {}),
    }  # fmt: skip


def _mlmodel(model: Path, task: Task) -> dict[str, Any]:
    providers = ["CPUExecutionProvider"]
    return {
        "flavors": {
            "onnx": {
                "code": None, "data": ONNX, "onnx_session_options": None, "onnx_version": _version("onnx"),
                "providers": providers,
            },
            "python_function": {
                "data": ONNX, "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.onnx", "python_version": platform.python_version(),
            },
        },
        "metadata": {"sansdata_task": json.loads(task.model_dump_json()), "sha256": sha256(model)},
        "mlflow_version": MLFLOW,
        "model_size_bytes": model.stat().st_size,
        "model_uuid": uuid.UUID(sha256(model)[:32]).hex,
        "signature": _signature(task),
        "utc_time_created": time.strftime("%Y-%m-%d %H:%M:%S.000000", time.gmtime()),
    }  # fmt: skip


def _signature(task: Task) -> dict[str, Any]:
    """As MLflow has it: lists of tensors as JSON in a text; -1 is any batch."""
    inputs = [
        {"name": name, "type": "tensor", "tensor-spec": {"dtype": axes.dtype, "shape": [-1, *axes.sizes]}}
        for name, axes in input_kind(task).signature().items()
    ]
    name, sizes = output_kind(task).signature()
    outputs = [{"name": name, "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, *sizes]}}]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
