"""The experiment with students at few bits, on the digits that come with scikit-learn: what each kind of arm gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sansdata.files import sha256
from sansdata.models.build import architecture_of, build
from sansdata.reproduce.experiments import find_experiment
from sansdata.reproduce.recipes.model import Arm, Recipe, TeacherRecipe
from sansdata.tasks import load_task


def test_arms_in_float_are_rounded_and_arms_at_few_bits_weighed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = tmp_path / "teacher.safetensors"
    save_file(build(architecture_of("resnet8", load_task("digits"))).state_dict(), teacher)
    recipe = Recipe(
        name="here", claim="-", data="digits", task="digits", teacher=TeacherRecipe(network="resnet8"),
        student="resnet8", experiment="few-bits", held_out=100, arms={},
    )  # fmt: skip
    known, found = {"path": str(teacher), "sha256": sha256(teacher)}, {}
    kinds: dict[str, dict[str, Any]] = {
        "float": {"method": "pool-kd"},
        "w4": {"method": "noise", "run": {"bits": "w4"}, "features": {"fast_affinity": 1.0}},
        "hard": {"method": "hard-labels", "run": {"bits": "w1"}},
    }
    for name, how in kinds.items():
        pool = {"pool": how["method"] != "noise"}
        arm = Arm(name=name, role="method", steps=2, options={"transfer": {"batch": 8}}, experiment=pool, **how)
        found[name] = find_experiment("few-bits")(recipe, arm, 0, known, tmp_path / name)
    assert set(found["float"]["measures"]) == {"w4", "w2", "w1"}
    assert found["w4"]["measures"]["w4"] == 100 * found["w4"]["accuracy"]
    assert found["hard"]["measures"]["file"] < found["w4"]["measures"]["file"] < 20
    assert all(figures["steps"] == 2 for figures in found.values())
