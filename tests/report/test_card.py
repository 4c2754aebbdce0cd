"""The model card: what a hub reads is valid, every hash is that of a file, and no text of a run is markup."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from tiny import Tiny

import sansdata
from sansdata.api.card import write_card
from sansdata.deploy.record import add_to_run
from sansdata.engine.run import run
from sansdata.errors import ConfigError, RunDirectoryError
from sansdata.files import sha256
from sansdata.report.card import card_of, plain_words

OPTIONS = {"transfer": {"batch": 8}}


@pytest.fixture(scope="module")
def finished(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("card") / "run"
    run(tiny.settings("noise", OPTIONS, budget="2steps", sealed=True), out)
    sansdata.evaluate(out, tiny.data, teacher=tiny.teacher)
    for name, kind in (("student.onnx", "onnx"), ("student.int8.onnx", "onnx-int8")):
        (out / name).write_bytes(name.encode())
        add_to_run(out, {"name": name, "format": kind, "sha256": sha256(out / name)})
    return out


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def front(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_the_hub_reads_it(own: Path) -> None:
    """By the hub's own library, which also judges the results."""
    hub = pytest.importorskip("huggingface_hub")
    path = write_card(own, settings={"license": "apache-2.0", "name": "small-digits"})
    data = hub.ModelCard.load(path).data
    assert (data.license, data.pipeline_tag) == ("apache-2.0", "image-classification")
    measured = json.loads((own / "evaluation.json").read_text())
    results = {one.metric_type: one for one in data.eval_results}
    assert results["accuracy"].metric_value == measured["accuracy"]
    assert results["accuracy"].dataset_name == measured["source"]


def test_hashes_lead_from_the_teacher_to_each_file(own: Path) -> None:
    text = card_of(own)
    manifest = json.loads((own / "run.json").read_text())
    head = json.loads((own / "chain.jsonl").read_text().splitlines()[-1])["hash"]
    rows = re.findall(r"^\| ([\w-]+) \| .* \| ([0-9a-f]{64}) \|$", text, re.MULTILINE)
    assert rows == [
        ("teacher", manifest["teacher"]["sha256"]), ("run", head), ("student", sha256(own / "student.safetensors")),
        ("onnx", sha256(own / "student.onnx")), ("onnx-int8", sha256(own / "student.int8.onnx")),
    ]  # fmt: skip
    assert front(text)["base_model_sha256"] == manifest["teacher"]["sha256"]
    (own / "student.onnx").write_bytes(b"another")
    assert "not the file that was measured" in card_of(own)


def test_figures_are_those_of_the_evaluation(own: Path, tiny: Tiny) -> None:
    measured = json.loads((own / "evaluation.json").read_text())
    text = card_of(own)
    low, high = measured["accuracy_interval"]
    own_share, teacher = (100 * measured[name] for name in ("accuracy", "teacher_accuracy"))
    assert f"| accuracy | {own_share:.1f} % | {100 * low:.1f} % to {100 * high:.1f} % | {teacher:.1f} % |" in text
    (own / "evaluation.json").unlink()
    text = card_of(own)
    assert "Not validated" in text
    assert "model-index" not in front(text)


def test_the_data_statement_says_how_far_it_was_cut_off(own: Path, tiny: Tiny, tmp_path: Path) -> None:
    level = json.loads((own / "run.json").read_text())["sealed"]["isolation"]["level"]
    assert f"No data was read in the phase SEALED; isolation: {level}." in card_of(own)
    assert "were met afterwards, in phases of their own (1 record(s))" in card_of(own)
    (own / "student.safetensors").write_bytes(b"")
    assert "The claim that no data was read does not hold" in card_of(own)
    chain = own / "chain.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b"begun", b"began"))
    text = card_of(own)
    assert "cannot be believed" in text
    assert "Nothing is claimed" in text
    run(tiny.settings("noise", OPTIONS, budget="2steps"), tmp_path / "plain")
    assert "The run was not sealed" in card_of(tmp_path / "plain")


def test_a_page_says_it_too(own: Path) -> None:
    page = sansdata.report(own).read_text()
    assert "This run was sealed." in page
    assert "none changed, removed or moved" in page


def test_what_its_maker_says_is_on_it_and_no_markup(own: Path) -> None:
    text = card_of(own, {"intended_use": "<script>|[x](http://a)`\n# head", "authors": "A_b", "privacy": "none"})
    assert "&lt;script&gt;\\|\\[x\\](http://a)\\` \\# head" in text
    assert "A\\_b" in text
    assert "The maker on privacy: none" in text


def test_texts_of_a_run_are_no_markup(own: Path) -> None:
    manifest = json.loads((own / "run.json").read_text())
    manifest["method"] = "x | <img src=x> \n\n# Other\n---"
    manifest["teacher"]["source"] = "](http://evil)"
    (own / "run.json").write_text(json.dumps(manifest))
    text = card_of(own)
    assert "<img" not in text.split("---\n", 2)[2]
    assert "\n# Other" not in text
    assert front(text)["library_name"] == "sansdata"
    assert plain_words("a*b") == "a\\*b"


def test_the_card_is_on_the_record(own: Path) -> None:
    write_card(own)
    assert json.loads((own / "chain.jsonl").read_text().splitlines()[-1])["event"] == "carded"


def test_wrong_input_is_said(own: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError):
        write_card(tmp_path / "none")
    with pytest.raises(ConfigError, match="Did you mean 'license'"):
        write_card(own, settings={"licence": "x"})
    with pytest.raises(ConfigError, match="cannot be written to"):
        write_card(own, tmp_path / "no" / "card.md")
    (own / "student.onnx").unlink()
    with pytest.raises(ConfigError, match="sansdata export"):
        write_card(own, mlflow=tmp_path / "ml")


def test_a_bundle_of_a_run_has_its_card(own: Path, tmp_path: Path) -> None:
    from sansdata.api.bundle import create_bundle

    create_bundle(own, tmp_path / "b", settings={"license": str(own / "config.yaml"), "intended_use": "teaching"})
    assert "teaching" in (tmp_path / "b" / "docs/README.md").read_text()
    assert (tmp_path / "b" / "models/model.onnx").read_bytes() == b"student.onnx"
