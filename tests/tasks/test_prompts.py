"""How a task tells a language model what to write."""

from __future__ import annotations

import pytest

from sansdata.errors import TaskError
from sansdata.tasks import KNOWN_PROMPTS, Prompts, load_task

FIELDS = {"kind": "text-classification", "vocabulary": 9, "length": 5, "classes": 2, "class_names": ["no", "yes"]}


def test_a_class_stands_in_its_prompt_by_its_wording_or_its_name() -> None:
    prompts = Prompts(text='A {label} film called "{context}": "', wordings={"no": "dull"})
    assert prompts.before("no", "The Kid") == 'A dull film called "The Kid": "'
    assert prompts.before("yes", "{label} {context}") == 'A yes film called "{label} {context}": "'
    assert prompts.question("{labels}", ("no", "yes")).count("no, yes") == 1


def test_a_task_names_known_prompts_or_writes_its_own() -> None:
    assert load_task({**FIELDS, "prompts": "movie-reviews"}).inputs.prompts == KNOWN_PROMPTS["movie-reviews"]
    own = load_task({**FIELDS, "prompts": {"text": "{label}: ", "wordings": {"no": "bad"}}})
    assert own.inputs.prompts.before("no") == "bad: "
    assert load_task(own.model_dump(mode="json")) == own
    assert hash(own) != hash(load_task(FIELDS))
    assert "prompts" not in load_task(FIELDS).model_dump(mode="json")["inputs"]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [("movie-review", "movie-reviews"), ({"text": "no hole"}, "label"), ({"text": "{label}", "example": "x"}, "text")],
)
def test_prompts_that_are_none_say_why(prompts: object, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        load_task({**FIELDS, "prompts": prompts})
