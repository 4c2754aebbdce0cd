"""What `--method auto` takes of a teacher that is only asked about images."""

from __future__ import annotations

import pytest
from tiny import Tiny

from sansdata.methods.auto import choose_method
from sansdata.tasks import load_task
from sansdata.teachers.specs import load_teacher


@pytest.mark.parametrize(("shows", "options"), [("probabilities", {}), ("labels", {"answers": "labels"})])
def test_two_students_that_disagree_learn_from_who_is_only_asked(shows, options, tiny: Tiny, tmp_path):
    (tmp_path / "service.yaml").write_text(f"model: {tiny.teacher}\nanswers: {shows}\n")
    choice = choose_method(load_teacher(str(tmp_path / "service.yaml"), load_task(tiny.task)), on_cpu=True)
    assert (choice.method, choice.preset, choice.options) == ("disguide", "small", options)
    assert "only asked" in choice.why
