"""A recurrent student of a ventricle's masks, measured on films of the phantom that it never saw.

The teacher is frame-wise, and learnt frames of the domain 'hospital' with their exact masks; the test films are of that
domain too. Students learn from the domain 'generator', or from what the arm says. 'accuracy' is the Dice coefficient.
Of an arm's `experiment`: student, where it is not the recipe's; loudness, a factor on the speckle of the test films.
The method 'real-data' is taught by the same teacher on films of the hospital: the ceiling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...api.distill import distill
from ...datasets.echo import EchoFilm
from ...engine.session import Session
from ...evaluate.echo_films import EchoFigures, Predict, measure
from ...files import read_json, sha256, write_json
from ...kinds.index import input_kind
from ...models.build import architecture_of, build
from ...models.conv_lstm import RecurrentSegmenter
from ...network import Network
from ...runtime import make_runtime
from ...streams import Streams
from ...synthesis.echo_phantom import FPS, HOSPITAL, films
from ...tasks import Task, load_task
from ...teachers.specs import load_teacher
from ..real_data import RealData
from ..recipes.model import Arm, Recipe
from ..students import ceiling, drawn
from ..teachers import cache, keep_weights
from . import distil

TEACHER, TEACHER_FRAMES, TEACHER_STEPS, TEACHER_BATCH, TEACHER_LR = "frames-unet", 600, 600, 16, 3e-3
TEST_FILMS, TEST_FRAMES, TEST_SEED = 40, 64, 77_002
REAL_FILMS = 150
BURN_IN = 8


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test films are drawn after the last step."""
    task = load_task(recipe.task)
    path = ensure_teacher(task)
    spec, name = f"{TEACHER}@{path}", arm.experiment.get("student", recipe.student)
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, task, spec)
        student, door = session.student.eval(), session.task
        figures: dict[str, Any] = {"steps": arm.steps, "cost": dict(session.context.counters.values)}
    else:
        result = distill(
            spec, name, arm.method, f"{arm.steps}steps", folder / "run", seed, task=task, strict=True,
            preset=arm.preset, options=arm.options, settings={"threads": recipe.threads, **arm.run},
        )  # fmt: skip
        student, door, figures = result.student, result.task, distil.of_run(result)
    tests = unseen_films(task.shape[-1], arm.experiment.get("loudness", 1.0))
    score = measure(predictor(student, door), tests)
    parameters = float(sum(p.numel() for p in student.parameters()))
    values = measures(score) | behind(score, of_teacher(path, task, arm.experiment.get("loudness", 1.0)))
    return {
        "accuracy": score.dice, **figures, "measures": values | {"parameters": parameters},
        "teacher": {"sha256": sha256(path)},
    }  # fmt: skip


def of_teacher(path: Path, task: Task, loudness: float) -> dict[str, float]:
    """The teacher's own measures on the same films, kept beside its file."""
    kept = path.with_name(f"{path.stem}-{TEST_SEED}-{loudness:g}.json")
    if not kept.is_file():
        module = load_teacher(f"{TEACHER}@{path}", task).module
        write_json(kept, measures(measure(predictor(module, task), unseen_films(task.shape[-1], loudness))))
    return read_json(kept)


def behind(score: EchoFigures, teacher: dict[str, float]) -> dict[str, float]:
    """The teacher's Dice, and what the student's measures lack of its teacher's."""
    own = measures(score)
    return {
        "teacher's Dice": teacher["Dice"], "Dice behind": teacher["Dice"] - own["Dice"],
        "ED behind": own["aFD ED"] - teacher["aFD ED"], "ES behind": own["aFD ES"] - teacher["aFD ES"],
        "teacher's r(EF)": teacher["r(EF)"],
    }  # fmt: skip


def measures(score: EchoFigures) -> dict[str, float]:
    """Dice in percent, aFD in frames, the ejection fraction in points."""
    return {
        "Dice": 100 * score.dice, "aFD ED": score.afd_ed, "aFD ES": score.afd_es, "r(EF)": score.by_area.r,
        "EF bias": score.by_area.bias, "EF error by discs": score.by_discs.error, "Brier": 100 * score.brier,
        "undetected": 100 * score.undetected,
    }  # fmt: skip


def predictor(module: nn.Module, task: Task) -> Predict:
    """The probabilities of the second class in a film; what is recurrent begins with the first frames mirrored."""
    network, warm = Network.of(module, task), BURN_IN if isinstance(module, RecurrentSegmenter) else 0

    @torch.no_grad()
    def predict(frames: np.ndarray) -> np.ndarray:
        whole = np.concatenate([frames[1 : warm + 1][::-1], frames])
        clip = torch.from_numpy(np.ascontiguousarray(whole)).permute(3, 0, 1, 2)[None].float().div(255)
        return network(clip).value.softmax(1)[0, 1, warm:].numpy()

    return predict


def unseen_films(size: int, loudness: float = 1.0) -> list[EchoFilm]:
    """Films of the hospital with a mask at every frame and every event."""
    made = films(TEST_FILMS, TEST_FRAMES, size, HOSPITAL, torch.Generator().manual_seed(TEST_SEED), loudness)
    frames, masks, ef = made.clips.permute(0, 2, 3, 4, 1).numpy(), made.masks.bool().numpy(), made.ejection_fractions
    return [
        EchoFilm(
            frames[film], range(TEST_FRAMES), masks[film], [at for one, at in made.ed if one == film and seen(at)],
            [at for one, at in made.es if one == film and seen(at)], float(ef[film]), FPS,
        )
        for film in range(TEST_FILMS)
    ]  # fmt: skip


def seen(frame: int) -> bool:
    """Whether an event is far enough from both ends of a film for its peak to stand out on both sides."""
    return 8 <= frame < TEST_FRAMES - 8


def ensure_teacher(task: Task) -> Path:
    """The file of the frame-wise teacher; made where it is not there yet."""
    size = task.shape[-1]
    path = cache() / f"echo-{size}-{TEACHER}-{TEACHER_STEPS}.safetensors"
    if not path.is_file():
        print(f"training the teacher {TEACHER} for {TEACHER_STEPS} steps", flush=True)
        module = train_teacher(task, size)
        keep_weights(path, module)
    return path


def train_teacher(task: Task, size: int) -> nn.Module:
    """TEACHER on single frames of the hospital with their exact masks, each of a film of its own."""
    made = films(TEACHER_FRAMES, 1, size, HOSPITAL, torch.Generator().manual_seed(0))
    runtime, streams = make_runtime(), Streams(0)
    with streams.as_global("teacher"):
        module = runtime.place(build(architecture_of(TEACHER, task)))
    network, kind = Network.of(module, task), input_kind(task)
    optimizer = torch.optim.Adam(module.parameters(), lr=TEACHER_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, TEACHER_LR, total_steps=TEACHER_STEPS)
    module.train()
    for step in range(TEACHER_STEPS):
        streams.begin(step)
        ids = torch.randint(TEACHER_FRAMES, (TEACHER_BATCH,), generator=streams("order"))
        answers = network(kind.unpack(made.clips[ids])).value
        F.cross_entropy(answers, made.masks[ids].long()).backward()
        runtime.step(optimizer)
        schedule.step()
    return module.eval()


def on_real_data(recipe: Recipe, arm: Arm, seed: int, task: Task, spec: str) -> Session:
    """The same student, taught by the same teacher on films of the hospital, at the end of its steps."""
    teacher = load_teacher(spec, task)
    student = drawn(arm.experiment.get("student", recipe.student), seed, teacher, task)
    made = films(REAL_FILMS, task.shape[1], task.shape[-1], HOSPITAL, torch.Generator().manual_seed(1))
    method = RealData.on(made.clips, torch.zeros(REAL_FILMS, dtype=torch.int64))
    return ceiling(method, arm, seed, teacher, student.module, student.task)
