"""Methods with an update and a defence that their papers did not have: that they train, and what it costs."""

from .model import Arm, Expectation, Recipe, TeacherRecipe

_WITH = {
    "": {},
    " + retain": {"update": "retain"},
    " + abd": {"defence": "abd"},
    " + retain + abd": {"update": "retain", "defence": "abd"},
}
_STEPS = {"fm": 400, "nayer": 400, "cae-dfkd": 400, "deepinversion": 400, "dafl": 400, "dfad": 400}


def _arms() -> tuple[Arm, ...]:
    return tuple(
        Arm(
            name=method + partners, role="combination" if partners else "method", method=method, preset="small",
            steps=steps, run=how,
        )
        for method, steps in _STEPS.items()
        for partners, how in _WITH.items()
    )  # fmt: skip


COMBINATIONS = Recipe(
    name="combinations",
    claim="Any method trains with the update `retain`, the defence `abd`, and both, and loses little by it where the "
    "teacher is honest.",
    data="digits",
    task="digits",
    teacher=TeacherRecipe(network="resnet8", epochs=6),
    student="shrink:0.5",
    held_out=300,
    arms={"small": _arms()},
    expected=tuple(
        Expectation(better=method + partners, worse=method, margin=-5)
        for method in _STEPS
        for partners in _WITH
        if partners
    ),
)
