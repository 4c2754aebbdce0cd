"""What a second student of a teacher costs, which begins with the generator and the images of the first."""

from __future__ import annotations

from .model import Arm, Expectation, Recipe, TeacherRecipe

_STEPS = 1400
_HALF = _STEPS // 2

SECOND_STUDENT = Recipe(
    name="second-student",
    claim="Images and generator of one student's run serve the next student of the same teacher: it is as good in half "
    "the steps and less than half the time.",
    data="fashion-mnist",
    task="fashion-mnist",
    teacher=TeacherRecipe(network="resnet8", epochs=8),
    student="shrink:0.5",
    experiment="succession",
    arms={
        "small": (
            Arm(name="first", role="ceiling", method="fm", preset="small", steps=_STEPS),
            Arm(name="second", role="method", method="fm", preset="small", steps=_HALF, experiment={"earlier": _STEPS}),
            Arm(name="first-in-half", role="floor", method="fm", preset="small", steps=_HALF),
        )
    },
    matched="The same method, settings, student and seeds; the second student's images come from a run of 1,400 steps "
    "with another seed, whose time is not counted. The rate falls to its end in every arm.",
    expected=(
        Expectation(better="second", worse="first", margin=-0.5),
        Expectation(better="second", worse="first-in-half"),
        Expectation(better="second", worse="first", measure="seconds of its own", ratio=0.5),
    ),
    tried=(
        "On training images of the small digits of scikit-learn, one seed, a first run of 800 steps (96.9 %): after "
        "100, 200 and 400 steps a second student had 85.2, 93.4 and 97.0 %, one that began with nothing 64.7, 80.1 and "
        "90.3 %.",
    ),
)
