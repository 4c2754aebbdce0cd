"""Panels: what a file may say, who may learn from them, and what each API is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from tiny import WORLDS, make_teacher

from sansdata.contracts import Access, Counters
from sansdata.errors import TaskError, TeacherError, UnsafeFileError, UserError
from sansdata.methods.index import find_method, method_config
from sansdata.models.build import architecture_of, build
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher
from sansdata.teachers.panel import Api, Panel
from sansdata.teachers.panel_file import is_panel, specs_in
from sansdata.teachers.preflight import unmet
from sansdata.teachers.specs import declared_files, load_teacher, task_of

WORLD: Any = WORLDS["panel"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    WORLD.save(tmp_path / "panel.safetensors")
    return tmp_path / "panel.yaml"


def changed(file: Path, **fields: Any) -> str:
    """The panel with other fields; those of an API as apis=(number, fields)."""
    panel = yaml.safe_load(file.read_text())
    if "apis" in fields and isinstance(fields["apis"], tuple):
        number, own = fields.pop("apis")
        panel["apis"][number] |= own
    file.write_text(yaml.safe_dump(panel | fields))
    return str(file)


def loaded(spec: str) -> Panel:
    task = task_of(spec)
    assert task is not None
    panel = load_teacher(spec, task)
    assert isinstance(panel, Panel)
    return panel


def test_a_file_is_loaded_beside_its_apis_and_declares_them(file: Path) -> None:
    panel = loaded(str(file))
    assert panel.classes == ("a", "b", "c", "d", "e")
    assert panel.task.pair == ("image", "ways")
    assert panel.access == Access.SCORES
    assert specs_in(str(file)) == [str(file.parent / f"panel-{number}.safetensors") for number in (0, 1)]
    assert set(declared_files(str(file))) == {file, *(file.parent / f"panel-{number}.safetensors" for number in (0, 1))}
    images = torch.rand(4, 1, 8, 8)
    for number, api in enumerate(panel.apis):
        expected = WORLD.teacher().apis[number](images).value
        assert torch.allclose(api(images).value, expected, atol=1e-6)


def test_every_api_is_counted_by_itself(file: Path) -> None:
    panel, counters = loaded(str(file)), Counters()
    panel.count_into(counters)
    panel.apis[0](torch.rand(3, 1, 8, 8))
    panel.apis[1](torch.rand(5, 1, 8, 8))
    panel.apis[1](torch.rand(2, 1, 8, 8))
    assert counters["teacher_forwards"] == 10
    assert (counters["queries of api0"], counters["queries of api1"]) == (3, 7)


def test_an_api_of_another_size_sees_images_in_its_own(file: Path) -> None:
    task = ImageTask(shape=(1, 12, 10), classes=3, mean=(0.2,), std=(0.5,))
    save_file(build(architecture_of("conv4", task)).state_dict(), file.parent / "large.safetensors")
    own = {"teacher": "conv4@large.safetensors", "shape": [1, 12, 10], "mean": [0.2], "std": [0.5]}
    panel = loaded(changed(file, apis=(1, own)))
    images = torch.rand(2, 1, 8, 8)
    api = panel.apis[1]
    large = torch.nn.functional.interpolate(images, (12, 10), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = api.teacher.module((large - 0.2) / 0.5)
    assert torch.allclose(api(images).value, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shapes": [1, 8, 8]}, "Did you mean 'shape'"),
        ({"shape": [3, 8, 8]}, "mean needs 3"),
        ({"shape": [1, 0, 8]}, "shape"),
        ({"access": "weights"}, "access"),
        ({"apis": []}, "apis"),
        ({"apis": (0, {"clases": ["x"]})}, "Did you mean 'classes'"),
        ({"apis": (0, {"classes": ["a", "b"]})}, "made for classes 3, the task has 2"),
        ({"apis": (0, {"classes": ["a", "b", "a"]})}, "no name twice"),
        ({"apis": (0, {"name": "api1"})}, "two APIs of the panel are called 'api1'"),
        ({"apis": (0, {"teacher": "none.safetensors"})}, "none.safetensors"),
        ({"apis": (0, {"teacher": "conv4"})}, "random weights"),
        ({"apis": (0, {"mean": [0.1, 0.2]})}, "mean needs 1"),
    ],
)
def test_a_wrong_panel_says_what_and_where(file: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises((TeacherError, TaskError), match=said.replace("'", "['\"]?")):
        loaded(changed(file, **fields))


def test_a_panel_names_no_code(file: Path) -> None:
    with pytest.raises(UnsafeFileError, match=r"os:system.*may not"):
        loaded(changed(file, apis=(0, {"teacher": "os:system@panel-0.safetensors"})))


def test_other_yaml_and_links_are_no_panel(file: Path, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("shape: [1, 8, 8]\n")
    (tmp_path / "link.yaml").symlink_to(file)
    assert is_panel(str(file))
    assert not any(is_panel(str(tmp_path / name)) for name in ("task.yaml", "link.yaml", "none.yaml"))


def test_apis_must_make_a_panel() -> None:
    task = ImageTask(shape=(1, 8, 8), classes=3, mean=(0.5,), std=(0.25,))
    api = Api("one", Teacher.from_module(WORLD.api(0), task), ("a", "b", "c"))
    with pytest.raises(TeacherError, match="at least one"):
        Panel([], (1, 8, 8), (0.5,), (0.25,))
    with pytest.raises(TeacherError, match="panel's images have 3"):
        Panel([api], (3, 8, 8), (0.5,) * 3, (0.25,) * 3)
    other = Api("four", make_teacher(), ("a", "b", "c", "d"))
    with pytest.raises(TeacherError, match="must have as many"):
        Panel([api, other], (1, 8, 8), (0.5,), (0.25,))


def test_who_may_learn_from_a_panel() -> None:
    """A method of one teacher would take an average of label sets for answers; one of panels needs several."""
    panel = WORLD.teacher()
    for name in ("noise", "dafl"):
        assert unmet(find_method(name).requires(method_config(name, "default", {})), panel)
    bidf = find_method("bidf-mkd")
    assert not unmet(bidf.requires(method_config("bidf-mkd", "default", {})), panel)
    assert "name them in a panel" in str(
        unmet(bidf.requires(method_config("bidf-mkd", "default", {})), _one_teacher_of_ways())
    )
    exact = unmet(bidf.requires(method_config("bidf-mkd", "default", {"recovery": "exact"})), panel)
    assert "gradients" in str(exact)
    with pytest.raises(UserError, match="cannot do this"):
        make_teacher().capability("panel")


def _one_teacher_of_ways() -> Teacher:
    return Teacher.from_module(WORLD.module(), WORLD.task)
