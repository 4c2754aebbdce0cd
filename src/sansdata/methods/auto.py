"""What `--method auto` takes of a teacher: a table of rules, not a planner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..teachers.base import Teacher
from ..teachers.preflight import why_not
from .index import find_method, method_config


@dataclass(frozen=True)
class Choice:
    """What `--method auto` takes, and the rules that decided."""

    method: str
    preset: str
    options: Mapping[str, Any]
    why: str


Row = tuple[str, str, Mapping[str, Any], str, str]
"""What 'auto' may take: method, its preset ('' is the machine's: small on a CPU), options, why, and why those."""
NO_NORMS = "the teacher has no BatchNorm statistics: dafl"
ONLY_ASKED: Row = ("noise", "default", {"source": "dead-leaves"}, "the teacher is only asked: noise", "")
BY_PAIR: Mapping[tuple[str, str], tuple[Row, ...]] = {
    ("image", "classes"): (
        ("fm", "", {}, "the teacher has BatchNorm statistics: fm", ""),
        ("dafl", "", {}, NO_NORMS, ""),
        ("dafl", "", {"activation": 0.0}, NO_NORMS, "no linear layer gives the logits: activation=0"),
        ("disguide", "", {}, "the teacher is only asked: disguide", ""),
        ("disguide", "", {"answers": "labels"}, "the teacher is only asked, and names classes alone: disguide", ""),
    ),
    ("image", "masks"): (
        ("dfad", "segmentation", {}, "masks, and the teacher has BatchNorm statistics: dfad", ""),
        ("noise", "default", {"source": "dead-leaves"}, "masks of a teacher without BatchNorm: noise", ""),
    ),
    ("image", "ways"): (("bidf-mkd", "", {}, "a panel of APIs: bidf-mkd", ""),),
    ("table", "classes"): (("tabkd", "default", {}, "the task is a table: tabkd", ""),),
    ("noise", "field"): (("boot", "", {}, "the teacher denoises: boot", ""),),
    ("tokens", "classes"): (("zerogen", "", {}, "the teacher writes texts: zerogen", ""),),
    ("two-texts", "classes"): (("zerogen", "", {}, "the teacher writes texts: zerogen", ""),),
    ("two-texts", "span"): (("zerogen-qa", "", {}, "the teacher writes questions: zerogen-qa", ""),),
    ("noise", "vectors"): (("fair4free", "default", {}, "the teacher draws latents: fair4free", ""),),
}  # fmt: skip
"""Of the rows of a pair the first that can work is taken; where none can, noise, which works on every kind."""
WITH_HELPERS: tuple[Row, ...] = (
    ("mixmix", "", {}, "the teacher has helpers: mixmix", ""),
    ("mixmix", "", {"bn": 0.0}, "the teacher has helpers: mixmix", "not all of them have BatchNorm statistics: bn=0"),
    ONLY_ASKED,
)


def choose_method(teacher: Teacher, on_cpu: bool) -> Choice:
    """By the kinds of the task, and by what the teacher and its helpers show."""
    pair = teacher.task.pair
    helped = bool(teacher.helpers) and pair == ("image", "classes")
    for name, preset, options, *reasons in WITH_HELPERS if helped else BY_PAIR.get(pair, ()):
        preset, of_preset = (
            (preset, "") if preset else ("small", "on a CPU: preset small") if on_cpu else ("default", "")
        )
        if not why_not(name, find_method(name).requires(method_config(name, preset, options)), teacher):
            why, why_options = reasons
            return Choice(name, preset, options, "; ".join(filter(None, (why, of_preset, why_options))))
    return Choice("noise", "default", {}, f"a task of {' x '.join(pair)}: noise, which works on every kind")
