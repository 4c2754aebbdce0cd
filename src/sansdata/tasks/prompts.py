"""How a language model is told of a task: what stands before a text of each class. Data, in the task's own file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic

from ..config import Strict
from ..errors import did_you_mean

MAX_LETTERS = 4000
"""Of a template; every text of a run repeats it."""


class Prompts(Strict):
    """Templates in which {label} is the wording of a class and {context} what the text is about.

    text: what stands before a text; it ends in an open quote where the text is to be closed by one. context: what
    stands before a context, which texts need where their template names one; empty where contexts are the user's alone.
    wordings: (name of a class, its wording) pairs, in a file a mapping; a class without one is called by its name.
    example: how a finished text stands before the prompt as an example of its class. label: the question whose answer
    is the name of a class, for models that answer and show no probabilities, with {text} and {labels}, and {context}
    where that is the first of two texts.
    """

    text: str = pydantic.Field(max_length=MAX_LETTERS)
    context: str = pydantic.Field(default="", max_length=MAX_LETTERS)
    wordings: tuple[tuple[str, str], ...] = ()
    example: str = pydantic.Field(default='"{text}"\n', max_length=MAX_LETTERS)
    label: str = pydantic.Field(
        default='Text: "{text}"\nWhich of these is it: {labels}? Answer with one of them.\nAnswer:',
        max_length=MAX_LETTERS,
    )

    @pydantic.field_validator("wordings", mode="before")
    @classmethod
    def _pairs(cls, wordings: Any) -> Any:
        return (
            tuple((str(name), value) for name, value in wordings.items()) if isinstance(wordings, Mapping) else wordings
        )

    @pydantic.model_validator(mode="after")
    def _holes(self) -> Prompts:
        if "{label}" not in self.text:
            raise ValueError("text needs {label}: without it every class would have the same prompt")
        if "{text}" not in self.example or "{text}" not in self.label:
            raise ValueError("example and label need {text}")
        return self

    @property
    def has_context(self) -> bool:
        return "{context}" in self.text

    def before(self, label: str, context: str = "") -> str:
        """What stands before a text of the class with this name. Braces in a context are letters."""
        wording = dict(self.wordings).get(label, label)
        return _filled(self.text, label=wording, context=context)

    def question(self, text: str, labels: tuple[str, ...], context: str = "") -> str:
        return _filled(self.label, text=text, labels=", ".join(labels), context=context)

    def shown(self, text: str) -> str:
        """A finished text as an example."""
        return _filled(self.example, text=text)


def _filled(template: str, **values: str) -> str:
    """Each hole is filled once, from left to right, so that what is put in is not read again."""
    parts, rest = [], template
    while True:
        places = [(rest.find("{" + name + "}"), name) for name in values if "{" + name + "}" in rest]
        if not places:
            return "".join([*parts, rest])
        at, name = min(places)
        parts += [rest[:at], values[name]]
        rest = rest[at + len(name) + 2 :]


def named_prompts(name: str) -> Prompts:
    """Those of a known task. Raises ValueError for an unknown name, with the nearest."""
    if name not in KNOWN_PROMPTS:
        raise ValueError(f"no prompts are called '{name[:80]}'. {did_you_mean(name[:80], KNOWN_PROMPTS)}")
    return KNOWN_PROMPTS[name]


KNOWN_PROMPTS = {
    # The wording of ZeroGen's release, but for the last two, which are ours.
    "movie-reviews": Prompts(
        text='The movie review in {label} sentiment for movie "{context}" is: "',
        context='Movie: "',
        example='Sample Movie Review: "{text}"\n',
        label='Movie review: "{text}"\nThe sentiment is one of: {labels}. Answer with that word.\nAnswer:',
    ),
    "question-entailment": Prompts(
        text='Information: "{context}"\nQuestion (answer {label} above information): "',
        wordings=(("entailment", "in"), ("not_entailment", "not in")),
        label='Information: "{context}"\nQuestion: "{text}"\nIs the answer in the information: {labels}? Answer with '
        "one of them.\nAnswer:",
    ),
    "sentence-entailment": Prompts(
        text='"{context}"\nBased on the above description, the following sentence is definitely {label}: "',
        wordings=(("entailment", "correct"), ("not_entailment", "wrong")),
        label='"{context}"\nDoes it follow that "{text}": {labels}? Answer with one of them.\nAnswer:',
    ),
    "question-answering": Prompts(
        text='The context is: "{context}"\n"{label}" is the answer of the following question: "',
        label='Context: "{context}"\nQuestion: "{text}"\nAnswer with words of the context:',
    ),
    "question-types": Prompts(
        text='A question that asks for {label}: "',
        wordings=(
            ("description", "a description or a reason"), ("entity", "a thing, a creature or a product"),
            ("abbreviation", "the meaning of an abbreviation"), ("human", "a person or a group of people"),
            ("number", "a number or a date"), ("location", "a place"),
        ),
        example='Sample question: "{text}"\n',
    ),
    "news-topics": Prompts(
        text='The news in brief, section {label}: "', example='Sample news: "{text}"\n',
        wordings=(("World", "world politics"), ("Sports", "sports"), ("Business", "business"),
                  ("Sci/Tech", "science and technology")),
    ),
}  # fmt: skip
"""Prompts that have a name, for `prompts: NAME` in a task file."""
