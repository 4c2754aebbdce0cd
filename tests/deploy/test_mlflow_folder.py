"""An exported model as MLflow has its models: by its published layout, and where it is installed by MLflow itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import make_module, make_task

from sansdata.deploy.export import export
from sansdata.deploy.mlflow_folder import write_mlflow
from sansdata.errors import ConfigError
from sansdata.files import sha256

pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    export(make_module().eval(), make_task(), path)
    return path


def test_the_layout(model: Path, tmp_path: Path) -> None:
    import onnxruntime

    write_mlflow(model, make_task(), tmp_path / "ml", "# card")
    assert {path.name for path in (tmp_path / "ml").iterdir()} == {
        "MLmodel", "model.onnx", "conda.yaml", "python_env.yaml", "requirements.txt", "README.md",
    }  # fmt: skip
    described = yaml.safe_load((tmp_path / "ml" / "MLmodel").read_text())
    assert described["flavors"]["python_function"]["loader_module"] == "mlflow.onnx"
    assert described["metadata"]["sha256"] == sha256(model)
    session = onnxruntime.InferenceSession(tmp_path / "ml" / described["flavors"]["onnx"]["data"])
    for side, there in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        said = json.loads(described["signature"][side])
        assert [one["name"] for one in said] == [one.name for one in there]
        assert [one["tensor-spec"]["shape"][1:] for one in said] == [one.shape[1:] for one in there]


def test_mlflow_loads_it(model: Path, tmp_path: Path) -> None:
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    write_mlflow(model, make_task(), tmp_path / "ml")
    answers = pyfunc.load_model(str(tmp_path / "ml")).predict({"images": np.zeros((2, 1, 8, 8), np.float32)})
    assert answers["logits"].shape == (2, 4)


def test_it_is_written_once(model: Path, tmp_path: Path) -> None:
    (tmp_path / "ml").mkdir()
    with pytest.raises(ConfigError, match="there already"):
        write_mlflow(model, make_task(), tmp_path / "ml")
    with pytest.raises(ConfigError, match="no such file"):
        write_mlflow(tmp_path / "none.onnx", make_task(), tmp_path / "other")
    assert not (tmp_path / "other").exists()
