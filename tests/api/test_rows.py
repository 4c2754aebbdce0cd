"""From an owner's table to synthetic rows and their figures, on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from sansdata.api.pictures import draw_picture_latents, write_pictures
from sansdata.api.rows import draw_latents, write_rows
from sansdata.cli.main import app
from sansdata.config import dump_yaml
from sansdata.datasets.load import load_set
from sansdata.errors import ConfigError, SansdataError, StudentError
from sansdata.evaluate import generated_rows
from sansdata.models.fair_image_vae import LatentPictures
from sansdata.network import Network
from sansdata.tasks import PairTask, load_task
from sansdata.teachers.autoencoder import save_autoencoder
from sansdata.testing.worlds import make_autoencoder

TASK = {
    "inputs": {
        "kind": "table",
        "columns": [
            {"name": "age", "range": [18, 80], "whole": True},
            {"name": "gain", "range": [0, 1000], "missing": True},
            {"name": "sex", "levels": ["f", "m"]},
            {"name": "job", "levels": ["a", "b", "c"]},
        ],
    },
    "outputs": {"kind": "classes", "classes": 2, "class_names": ["no", "yes"], "column": "given"},
}


def command(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in which men are given more, its task, and an autoencoder of it."""
    folder, random = tmp_path_factory.mktemp("owner"), np.random.default_rng(0)
    (folder / "table.yaml").write_text(dump_yaml(TASK))
    lines = ["age,gain,sex,job,given"]
    for _ in range(600):
        age, man, job = random.integers(18, 80), random.random() < 0.6, random.integers(0, 3)
        gain = "" if random.random() < 0.1 else f"{random.exponential(200) * (random.random() < 0.4):.1f}"
        given = random.random() < 0.1 + 0.4 * man + 0.3 * (age > 45)
        lines.append(f"{age},{gain},{'fm'[int(man)]},{'abc'[job]},{['no', 'yes'][int(given)]}")
    (folder / "table.csv").write_text("\n".join(lines))
    printed = command(
        "autoencoder", "--data", str(folder / "table.csv"), "--task", str(folder / "table.yaml"), "--sensitive", "sex",
        "--out", str(folder / "fair"), "epochs=15", "batch=64", "bins=5", "latent=4", "hidden=24",
    )  # fmt: skip
    assert "groups    of 'sex': f" in printed
    assert "a mixture of 1 Gaussian(s)" in printed
    return folder


def test_a_table_becomes_synthetic_rows_and_their_figures(
    owner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, run, made = str(owner / "fair" / "teacher.safetensors"), str(tmp_path / "run"), tmp_path / "rows.csv"
    command(
        "distill", "--teacher", teacher, "--task", str(owner / "fair" / "task.yaml"), "--student", "latent-mlp",
        "--budget", "150steps", "--strict", "--threads", "1", "--out", run, "transfer.batch=64",
    )  # fmt: skip
    assert "fair4free" in (Path(run) / "config.yaml").read_text()
    printed = command("rows", run, "--teacher", teacher, "--out", str(made), "--count", "300", "--proxy", "job")
    assert "group     m:" in printed
    with made.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 300
    assert {row["sex"] for row in table} == {"f", "m"}
    assert all(18 <= int(row["age"]) <= 80 for row in table)
    assert any(row["gain"] == "" for row in table)
    schema = load_task(str(made.with_suffix(".yaml")))
    assert len(load_set(str(made), schema)) == 300, "the rows are a labelled set of the task beside them"
    again = tmp_path / "again.csv"
    command("rows", run, "--teacher", teacher, "--out", str(again), "--count", "300", "--proxy", "job")
    assert again.read_text() == made.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "no.csv")

    monkeypatch.setattr("sansdata.api.rows.write_atomic", full)
    with pytest.raises(ConfigError, match=r"no\.csv: cannot be written \(No space left on device\)$"):
        write_rows(run, teacher, tmp_path / "no.csv", count=5)


def test_rows_are_judged_by_a_classifier_on_real_ones_under_every_rule(
    owner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fairlearn", reason="figures of fairness are fairlearn's (extra 'fair')")
    teacher, run = str(owner / "fair" / "teacher.safetensors"), tmp_path / "run"
    command(
        "distill", "--teacher", teacher, "--task", str(owner / "fair" / "task.yaml"), "--student", "latent-mlp",
        "--budget", "150steps", "--threads", "1", "--out", str(run), "transfer.batch=64",
    )  # fmt: skip
    monkeypatch.setattr(generated_rows, "ROWS", 1500)
    printed = command("evaluate", str(run), "--data", str(owner / "table.csv"), "--teacher", teacher)
    assert "one answer for all" in printed
    figures = json.loads((run / "evaluation.json").read_text())
    assert figures["downstream_dpr (one answer for all)"] == 1
    assert figures["label_dpr"] > figures["label_dpr (marginal)"]
    command("report", str(run))
    page = (run / "report.html").read_text()
    assert "fairness and utility" in page


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, SansdataError), done.output + repr(done.exception)
    assert done.exception.exit_code == 2
    return str(done.exception)


def test_wrong_words_get_one_answer_each(owner: Path, tmp_path: Path) -> None:
    data = ["--data", str(owner / "table.csv"), "--task", str(owner / "table.yaml")]
    new = ["--out", str(tmp_path / "new")]
    for words, answer in (
        ([*data, "--sensitive", "sexx", *new], "'sex'"),
        ([*data, "--sensitive", "age", *new], "category"),
        ([*data, "--sensitive", "sex=x", *new], "no level 'x'"),
        ([*data, "--sensitive", "job=a,b,c", *new], "all levels"),
        ([*data, "--sensitive", "sex", "--out", str(owner)], "there already"),
        ([*data, "--sensitive", "sex", *new, "epoch=3"], "'epochs'"),
        ([*data, "--sensitive", "sex", *new, "--positive", "maybe"], "no class 'maybe'"),
        ([*data, "--sensitive", "sex", *new, "--handover", "cycle"], "handover"),
        (["--data", str(owner / "table.csv"), "--sensitive", "sex", *new], "--task"),
        ([*data, *new], "--sensitive"),
    ):
        assert answer in refused("autoencoder", *words)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("there", ["adult.csv", "adult.yaml", "adult.npz"])
def test_a_file_of_the_users_is_not_replaced_and_nothing_is_drawn(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    write, out = (write_pictures, "adult.npz") if there.endswith(".npz") else (write_rows, "adult.csv")
    with pytest.raises(ConfigError, match=f"{there}: is there already"):
        write(tmp_path / "no run", "no teacher", tmp_path / out)
    with pytest.raises(ConfigError, match="its folder is not there"):
        write(tmp_path / "no run", "no teacher", tmp_path / "missing" / out)
    assert (tmp_path / there).read_text() == "mine"


class Broken(nn.Module):
    """Latents of no numbers for one noise in forty."""

    def forward(self, noise: Tensor) -> Tensor:
        return torch.where(noise[:, :1] > 2, torch.nan, noise)


def test_latents_that_are_no_numbers_make_no_rows_and_no_pictures() -> None:
    task = PairTask(inputs={"kind": "noise", "shape": [4]}, outputs={"kind": "vectors", "size": 4})
    with pytest.raises(StudentError, match="the generator gives nan"):
        draw_latents(Network.of(Broken(), task), task, 300, torch.Generator().manual_seed(0))
    pictures = LatentPictures(Broken(), nn.Identity())  # type: ignore[arg-type]
    with pytest.raises(StudentError, match="the generator gives nan"):
        draw_picture_latents(pictures, 4, 300, torch.Generator().manual_seed(0))


def test_rows_of_another_decoder_are_refused(owner: Path, tmp_path: Path) -> None:
    teacher, run = str(owner / "fair" / "teacher.safetensors"), str(tmp_path / "run")
    task = str(owner / "fair" / "task.yaml")
    command(
        "distill", "--teacher", teacher, "--task", task, "--student", "latent-mlp-small", "--budget", "5steps",
        "--threads", "1", "--out", run, "transfer.batch=16",
    )  # fmt: skip
    other = tmp_path / "other.safetensors"
    save_autoencoder(other, make_autoencoder())
    assert "numbers" in refused("rows", run, "--teacher", str(other), "--out", str(tmp_path / "rows.csv"))
    command(
        "autoencoder", "--data", str(owner / "table.csv"), "--task", str(owner / "table.yaml"), "--sensitive", "sex",
        "--out", str(tmp_path / "second"), "epochs=1", "latent=4",
    )  # fmt: skip
    second = str(tmp_path / "second" / "teacher.safetensors")
    assert "another autoencoder" in refused("rows", run, "--teacher", second, "--out", str(tmp_path / "rows.csv"))
    for words, answer in (
        (["--out", str(tmp_path / "rows.txt")], ".csv"),
        (["--out", str(tmp_path / "rows.csv"), "--count", "0"], "count=0"),
        (["--out", str(tmp_path / "rows.csv"), "--rule", "fair"], "rule"),
    ):
        assert answer in refused("rows", run, "--teacher", teacher, *words)
    assert "--teacher" in refused("evaluate", run, "--data", str(owner / "table.csv"))
