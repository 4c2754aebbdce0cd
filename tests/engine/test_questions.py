"""What a run says of its costs before the first question, whoever of its teacher costs something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cases import CASES

import sansdata
from sansdata.engine.prepare import prepare
from sansdata.engine.questions import CHECKS, Formula, say_costs
from sansdata.errors import ConfigError, TeacherError
from sansdata.methods.index import find_method, method_config
from sansdata.report import write_report
from sansdata.settings import GradientSettings, RunSettings, parse_budget
from sansdata.tasks import load_task
from sansdata.teachers.base import Teacher
from sansdata.teachers.panel import Panel
from sansdata.teachers.specs import load_teacher, task_of
from sansdata.testing.worlds import WORLDS

IMAGES, PANEL = WORLDS["image"], WORLDS["panel"]
BIDF = CASES["bidf-mkd/panel"].options
CHECKED = sum(rows * times for rows, times in CHECKS.items())


def service(folder: Path, lines: str = "") -> str:
    """A service file whose network is the world's."""
    IMAGES.save(folder / "weights.safetensors")
    (folder / "service.yaml").write_text(f"model: {IMAGES.spec(folder / 'weights.safetensors')}\n{lines}\n")
    return str(folder / "service.yaml")


def panel(folder: Path, lines: str = "") -> str:
    """A panel whose two APIs are services."""
    PANEL.save(folder / "panel.safetensors")
    file = folder / "panel.yaml"
    for number in (0, 1):
        (folder / f"api{number}.yaml").write_text(f"model: {folder}/panel-{number}.safetensors\n{lines}\n")
        file.write_text(file.read_text().replace(f"panel-{number}.safetensors", f"api{number}.yaml"))
    return str(file)


def loaded(spec: str) -> Panel:
    task = task_of(spec)
    assert task is not None
    teacher = load_teacher(spec, task)
    assert isinstance(teacher, Panel)
    return teacher


def test_seconds_are_refused_for_a_panel_of_services_before_they_are_asked(tmp_path: Path) -> None:
    teacher = loaded(panel(tmp_path))
    settings = RunSettings(teacher="panel", method="bidf-mkd", student="conv4", budget="2s", options=BIDF)
    with pytest.raises(ConfigError, match="2 seconds would be measured by asking"):
        prepare(settings, teacher)
    assert [meter.samples for meter in teacher.meters] == [0, 0]


def test_a_panel_of_services_says_what_it_asks_and_records_what_each_was_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = panel(tmp_path, 'price: {sample: "0.01"}\nlimits: {samples: 500}')
    result = sansdata.distill(
        spec, "conv4", "bidf-mkd", "1steps", tmp_path / "run", 3, options=BIDF,
        settings={"threads": 1, "engine": {"snapshots": 1, "images": 0}},
    )  # fmt: skip
    said = capsys.readouterr().err
    config = method_config("bidf-mkd", "default", BIDF)
    asked = config.queries_of(3, 1)
    assert result.summary["cost"]["teacher_forwards"] == asked
    assert f"queries   {asked:,} in at most" in said
    assert f"at most {asked / 100:.2f} in money" in said
    assert said.index("queries   ") < said.index("the service shows")
    spent = result.summary["service"]
    assert len(spent) == 2
    assert sum(one["samples"] for one in spent) > asked
    assert "of at most 500 samples are spent" in said  # the limit comes nearer
    page = write_report(tmp_path / "run").read_text()
    assert "sent to the service, 1. " in page
    assert "sent to the service, 2. " in page


def test_a_helper_that_is_a_service_counts(tmp_path: Path) -> None:
    helper = load_teacher(service(tmp_path), IMAGES.task)
    assert helper.meter is not None
    assert IMAGES.teacher().helped_by([helper]).meters == (helper.meter,)
    settings = RunSettings(
        teacher="-", task=IMAGES.task.model_dump(mode="json"), helpers=[service(tmp_path)], method="mixmix",
        budget="2s", options={"bn": 0.0}, teacher_gradients=GradientSettings(source="estimate"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="would be measured by asking"):
        prepare(settings, IMAGES.teacher())


def test_a_panel_takes_no_helpers(tmp_path: Path) -> None:
    teacher = loaded(panel(tmp_path))
    with pytest.raises(TeacherError, match="among its `apis`"):
        teacher.helped_by([teacher])


# -- limits


def say(teacher: Teacher, queries: int) -> None:
    options: dict[str, Any] = {"transfer": {"batch": 8}}
    formula = Formula(
        find_method("noise"), method_config("noise", "default", options), GradientSettings(), teacher.task
    )
    say_costs(teacher, formula, RunSettings(method="noise", options=options), parse_budget(f"{queries}queries"))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("samples: 208", f"samples to {208 + CHECKED}.* to {208 + CHECKED} or more .*take --budget 184queries or less"),
        (f"samples: {CHECKED}", rf"to {208 + CHECKED} or more .*student\)$"),
        ("requests: 29", "limits.requests .*to 30"), ('money: "2.29"', "limits.money .*to 2.30"),
    ],
)  # fmt: skip
def test_a_limit_that_ends_the_run_is_refused_with_what_would_do(tmp_path: Path, limits: str, message: str) -> None:
    lines = f'batch: 8\nprice: {{sample: "0.01"}}\nlimits: {{{limits}}}'
    with pytest.raises(ConfigError, match=message):
        say(load_teacher(service(tmp_path, lines), IMAGES.task), 208)


def test_what_was_asked_before_makes_no_room_unless_its_answers_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = load_teacher(service(tmp_path, "limits: {samples: 230}"), IMAGES.task)
    assert teacher.meter is not None
    say(teacher, 208)
    assert "warning   " in capsys.readouterr().err  # scoring may still meet it
    teacher.meter.spend(CHECKED)
    with pytest.raises(ConfigError, match=f"to {208 + 2 * CHECKED} or more"):
        say(teacher, 208)
    teacher.meter.kept = CHECKED - 1
    with pytest.raises(ConfigError, match=f"to {208 + CHECKED + 1} or more"):
        say(teacher, 208)
    teacher.meter.kept = CHECKED
    say(teacher, 208)


def test_a_panel_whose_limits_not_even_hold_the_checks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def say_all(limit: int) -> None:
        teacher = loaded(panel(tmp_path, f"limits: {{samples: {limit}}}"))
        formula = Formula(
            find_method("bidf-mkd"), method_config("bidf-mkd", "default", BIDF), GradientSettings(), teacher.task
        )
        say_costs(teacher, formula, RunSettings(method="bidf-mkd", options=BIDF), parse_budget("1steps"))

    with pytest.raises(ConfigError, match=f"to {CHECKED} or more"):
        say_all(CHECKED - 1)
    say_all(CHECKED)
    assert "if all of its services are asked equally often" in capsys.readouterr().err


def test_the_formula_of_a_method_may_know_the_classes() -> None:
    config = method_config("bidf-mkd", "default", BIDF)
    formula = Formula(find_method("bidf-mkd"), config, GradientSettings(), PANEL.task)
    assert formula.queries(5) == config.queries_of(3, 5)


@pytest.mark.parametrize("part", ["retain", "retrospect", "features"])
def test_there_is_no_formula_where_a_part_of_the_step_asks_besides(part: str) -> None:
    config = method_config("noise", "default", {})
    plain, beside = (
        Formula(find_method("noise"), config, GradientSettings(), load_task("digits"), parts) for parts in ((), (part,))
    )
    assert plain.known
    assert not beside.known
