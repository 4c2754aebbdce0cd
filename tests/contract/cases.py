"""A row per method and world: settings under which a run of a few steps passes through everything it does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sansdata.testing.worlds import save_continuing_writer


@dataclass(frozen=True)
class Case:
    """options: tiny settings, budget STEPS. stops: moves after which a run is stopped, the first one in `make test`.

    stops should hold the middle of what the method does over several moves (a round, an inversion, a pool being
    renewed), the first move, and one late. moves_apart: (n, m) of the test that state() is complete.
    """

    options: dict[str, Any]
    stops: tuple[int, int, int]
    moves_apart: tuple[tuple[int, int], ...] = ((1, 6), (5, 9))
    learns: dict[str, Any] = field(default_factory=dict)
    """Options laid over `options` where the test asks that the loss falls."""
    frozen: tuple[str, ...] = ()
    """Parameters of the trained student that are given, not learned."""
    retains: bool = True
    """Whether the update `retain` can ask its teacher about what it remembers."""
    one_shape: bool = True
    """Whether what joins inputs of several batches can work with it."""
    like: str = ""
    """The row of a method that is built alike; it stands for this one in the short tests."""


STEPS = 8
_FOLDER = tempfile.TemporaryDirectory(prefix="sansdata-cases-")  # removed when the process ends
_WRITER = save_continuing_writer(Path(_FOLDER.name) / "writer.safetensors")

CASES = {
    "noise": Case({"transfer": {"batch": 8}}, stops=(4, 1, 7)),
    "pool-kd": Case({"share": 0.5, "transfer": {"batch": 8}}, stops=(4, 1, 7)),
    "dfnd": Case(
        {"keep": 0.5, "scan_moves": 4, "transfer": {"batch": 8}},
        stops=(2, 1, 8),  # 1 and 2: half the pool is scored
        moves_apart=((1, 6), (5, 6)),
    ),
    "mosaickd": Case(
        {"latent": 16, "width": 8, "patch_width": 4, "student_steps": 3, "transfer": {"batch": 8}},
        stops=(6, 1, 10),  # 1: before the student's first step; 6: in the middle of a round
    ),
    "kd3": Case(
        {
            "scan_moves": 2, "steps_per_epoch": 3, "threshold": 0.4, "embedding": 8, "contrast": 0.1,
            "transfer": {"batch": 8},
        },
        stops=(8, 1, 13),  # 1: the teacher, 8 and 13: the student has seen half of the pool
        moves_apart=((1, 5), (8, 6)),
        frozen=("linear.weight", "linear.bias"),
    ),
    "dafl": Case(
        {"latent": 16, "width": 8, "adversarial": 0.5, "ema": {"weight": 0.5}, "transfer": {"batch": 8}},
        stops=(5, 1, 12),  # 5: between a generator's step and the student's, with the batch pending
    ),
    "zskt": Case(
        {"latent": 16, "width": 8, "student_steps": 3, "ema": {"weight": 0.5}, "transfer": {"batch": 8}},
        stops=(6, 1, 10),  # 6: middle of a pseudo-batch; 1: between the generator's step and the student's first
    ),
    "dfad": Case(
        {"latent": 16, "width": 8, "student_steps": 3, "transfer": {"batch": 8}},
        stops=(6, 1, 8),  # 6: middle of a round; 8: the generator's step is next
    ),
    "dfme": Case(
        {"latent": 16, "width": 8, "student_steps": 3, "estimate": {"directions": 2}, "transfer": {"batch": 8}},
        stops=(6, 1, 8),  # 6: middle of a round; 1: between the generator's step and the student's
    ),
    "maze": Case(
        {
            "latent": 16, "width": 8, "student_steps": 2, "replay_steps": 2, "replay": 12,
            "estimate": {"directions": 2}, "transfer": {"batch": 8},
        },
        stops=(8, 1, 6),  # 1: before the batch of the generator's step; 6: the same of the second round; 8: in replay
    ),
    "dual-students": Case(
        {"latent": 16, "width": 8, "student_steps": 3, "transfer": {"batch": 8}},
        stops=(6, 1, 8),  # 6: middle of a round
        like="dfme",
    ),
    "disguide": Case(
        {
            "latent": 16, "width": 8, "student_steps": 2, "replay_steps": 2, "replay": 12, "answers": "labels",
            "transfer": {"batch": 8},
        },
        stops=(8, 1, 6),  # 8: in replay
        like="maze",
    ),
    "ideal": Case(
        {"latent": 16, "width": 8, "images": 8, "steps_per_round": 3, "pool": 12, "transfer": {"batch": 8}},
        stops=(6, 1, 9),  # 6: the pool of 12 is full and being renewed
    ),
    "zsdb3kd": Case(
        {
            "batch": 8, "iterations": 2, "starts": 2, "directions": 3, "halvings": 3, "noises": 2, "anchors": 4,
            "steps_per_batch": 3, "pool": 12, "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 1, 6 and 11: half a batch moved away; at 11 the pool of 12 is full and being renewed
        moves_apart=((1, 6), (6, 7)),
        learns={"lr": 0.01},
    ),
    "dfms": Case(
        {
            "latent": 16, "width": 8, "judge_width": 4, "student_steps": 3, "pooled": 0.25, "transfer": {"batch": 8},
        },
        stops=(6, 1, 8),
        like="dfme",
    ),
    "deepinversion": Case(
        {
            "batch": 8, "iterations": 4, "chunk": 2, "steps_per_batch": 3, "pool": 12, "jitter": 1,
            "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 6 and 11: half a batch inverted; at 11 the pool of 12 is full and being renewed
        moves_apart=((1, 6), (6, 7)),
    ),
    "adi": Case(
        {
            "batch": 8, "iterations": 4, "chunk": 2, "steps_per_batch": 3, "pool": 12, "jitter": 1, "adi": 1.0,
            "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 6 and 11: half a batch inverted against a student that has learnt
        moves_apart=((1, 6), (6, 7)),
    ),
    "mixmix": Case(
        {
            "batch": 8, "iterations": 4, "chunk": 2, "steps_per_batch": 3, "pool": 12, "jitter": 1, "models": 1,
            "bn": 10.0, "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 6 and 11: half a batch inverted; at 11 the pool of 12 is full and being renewed
        moves_apart=((1, 6), (6, 7)),
    ),
    "zskd": Case(
        {
            "batch": 8, "iterations": 4, "chunk": 2, "steps_per_batch": 3, "pool": 12, "pixel_lr": 0.05,
            "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 6 and 11: half a batch of impressions made; at 11 the pool of 12 is full
        moves_apart=((1, 6), (6, 7)),
    ),
    "fm": Case(
        {
            "k": 2, "latent": 16, "width": 8, "batch": 8, "warmup_rounds": 1, "steps_per_round": 3, "reset_round": 3,
            "pool": 12, "transfer": {"batch": 8},
        },
        stops=(6, 1, 9),  # 6: the next move re-makes the first layer; 9: middle of a round, pool renewed
        moves_apart=((1, 6), (4, 8)),
    ),
    "cmi": Case(
        {
            "iterations": 4, "chunk": 2, "latent": 16, "width": 8, "batch": 8, "head": 8, "bank": 12, "negatives": 6,
            "steps_per_round": 3, "pool": 12, "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 1, 6 and 11: half a batch inverted; at 11 the pool and the bank are full and being renewed
        moves_apart=((1, 6), (6, 7)),
    ),
    "nayer": Case(
        {
            "iterations": 4, "chunk": 3, "latent": 16, "width": 8, "batch": 9, "warmup_rounds": 1, "warmup_calls": 2,
            "calls": 1, "generator_life": 2, "steps_per_round": 3, "pool": 12, "transfer": {"batch": 8},
        },
        stops=(5, 1, 15),  # 1, 5 and 15: half a call; 5 and 15: by a generator made anew; 15: the pool is being renewed
        moves_apart=((1, 6), (5, 12)),
    ),
    "muse": Case(
        {
            "iterations": 4, "chunk": 3, "latent": 16, "width": 8, "batch": 9, "warmup_rounds": 1, "warmup_calls": 2,
            "calls": 1, "generator_life": 2, "steps_per_round": 3, "pool": 24, "sizes": [8, 6],
            "transfer": {"batch": 8},
        },
        stops=(7, 1, 15),  # 1, 7 and 15: half a call; 1 of the larger size, 7 and 15: of either after the warm-up
        moves_apart=((1, 6), (5, 12)),
        one_shape=False,
        like="nayer",
    ),
    "cae-dfkd": Case(
        {
            "iterations": 4, "chunk": 3, "latent": 16, "width": 8, "batch": 9, "warmup_rounds": 1, "warmup_calls": 2,
            "calls": 1, "steps_per_round": 3, "pool": 12, "projection": 8, "contrast_classes": 3,
            "contrast_diffusions": 2, "learn_magnitudes": True, "transfer": {"batch": 8},
        },
        stops=(5, 1, 15),  # 1, 5 and 15: half a call, its diffusion drawn; 15: the pool is being renewed
        moves_apart=((1, 6), (5, 12)),
    ),
    "diffdfkd": Case(
        {
            "prior": {"model": "priors:gaussian"}, "times": 4, "chunk": 3, "batch": 8, "cutmix": True,
            "steps_per_batch": 3, "pool": 12, "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 1, 6 and 11: in the middle of a trajectory; at 11 the pool of 12 is full and being renewed
        moves_apart=((1, 6), (6, 7)),
    ),
    "bidf-mkd/panel": Case(
        {
            "tasks": 1, "images": 3, "iterations": 4, "chunk": 2, "directions": 2, "latent": 8, "width": 4,
            "view": "crop", "boundary_after": 0, "inner_steps": 2, "replay": 2, "replay_steps": 2, "shots": 2,
            "queries": 3, "memory": 2, "held_out": 1, "order": "second",
            "transfer": {"batch": 8, "optimizer": "sgd", "lr": 0.05},
        },
        stops=(5, 1, 9),  # 1: half a set that only validates; 5: half a boundary set; 9: half a set of the second round
        moves_apart=((1, 7), (5, 9)),
        learns={"optimizer": "adam", "lr": 0.01},
        retains=False,
    ),
    "noise/table": Case({"transfer": {"batch": 8}}, stops=(4, 1, 7)),
    "noise/tokens": Case(
        {"source": "frequent", "transfer": {"batch": 8}}, stops=(4, 1, 7),
        learns={"optimizer": "adam", "lr": 0.01, "temperature": 1.0},
    ),
    "zerogen/writer": Case(
        {
            "texts": 40, "chunk": 16, "more_every": 3, "pool": 64, "min_words": 3, "scores": "weight",
            "reweigh": {"rounds": 2, "judged": 16, "batch": 8}, "transfer": {"batch": 8},
        },
        stops=(2, 1, 8),  # 1 and 2: not all texts are written; 8: after weighing and the first steps
        moves_apart=((1, 6), (2, 7), (5, 6)),
        learns={"lr": 0.02},
    ),
    "zerogen/writer-of-two": Case(
        {
            "texts": 40, "chunk": 16, "more_every": 50, "pool": 64, "min_words": 3, "scores": "likely",
            "context_decoding": {"new_tokens": 8}, "transfer": {"batch": 8},
        },
        # more_every: what is written later would push out the batch by which learning is judged
        stops=(2, 1, 6),  # 1 and 2: not all texts are written; 6: after the first steps
        moves_apart=((1, 6), (2, 7), (5, 6)),
        learns={"lr": 0.02},
    ),
    "zerogen-qa/asker": Case(
        {
            "contexts": str(Path(__file__).with_name("contexts.txt")), "texts": 40, "chunk": 16, "more_every": 50,
            "pool": 64, "min_words": 3, "transfer": {"batch": 8},
        },
        # more_every: what is written later would push out the batch by which learning is judged
        stops=(2, 1, 6),  # 1 and 2: not all questions are written; 6: after the first steps
        moves_apart=((1, 6), (2, 7), (5, 6)),
        learns={"lr": 0.003},
        retains=False,
        like="zerogen/writer-of-two",
    ),
    "promptdfd/worded": Case(
        {
            "writer": str(_WRITER), "words": 2, "fresh": 0.25, "candidates": 20, "batch": 16, "confident": 0.3,
            "steps_per_batch": 3, "pool": 24, "decoding": {"new_tokens": 6}, "transfer": {"batch": 8},
        },
        stops=(5, 1, 9),  # 1: before the student's first step; 5: the table was steered; 9: the pool is being renewed
        learns={"lr": 0.02},
    ),
    "masked-kd/tokens": Case(
        {
            "width": 8, "layers": 1, "fit_steps": 5, "chunk": 2, "choices": 3, "batch": 8, "steps_per_round": 3,
            "transfer": {"batch": 8},
        },
        stops=(2, 5, 9),  # 2: the writer has learnt for a while; 5 and 9: in the middle of a round
        moves_apart=((1, 6), (5, 6)),
        learns={"lr": 0.02, "batch": 32},
        like="as-dfd/tokens",
    ),
    "as-dfd/tokens": Case(
        {
            "batch": 8, "iterations": 4, "harder": 3, "chunk": 2, "choices": 3, "enters": "mixture",
            "fresh": 0.25, "steps_per_batch": 3,
            "pool": 12, "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 6 and 11: half a batch guessed; at 11 the pool of 12 is full and being renewed
        moves_apart=((1, 6), (6, 7)),
        learns={"lr": 0.02, "batch": 32},
    ),
    "af-stip/tokens": Case(
        {
            "mode": "resample", "iterations": 2, "choices": 3, "batch": 16, "steps_per_batch": 3, "pool": 24,
            "transfer": {"batch": 8},
        },
        stops=(5, 1, 10),  # 5: the pool of 24 is full; 10: being renewed
        learns={"lr": 0.01},
    ),
    "tabkd/table": Case(
        {
            "draws": 40, "search": 90, "rows": 24, "bins": 4, "steps_per_round": 2, "pool": 120,
            "transfer": {"batch": 8, "lr": 0.01},
        },
        stops=(5, 1, 9),  # 1: only draws were asked; 5: bins are found; 9: the pool is being renewed
        moves_apart=((1, 6), (5, 7)),
    ),
    "fair4free/latents": Case(
        {"handover": "moments", "loss": "sliced-w2", "directions": 8, "transfer": {"batch": 8}}, stops=(4, 1, 7),
        learns={"lr": 0.02, "batch": 64},
        retains=False,
    ),
    "fair4free/decoded": Case(
        {"handover": "cycle", "loss": "energy", "transfer": {"batch": 8}}, stops=(4, 1, 7),
        learns={"lr": 0.02, "batch": 64},
        retains=False,
    ),
    "udistil/transcripts": Case(
        {
            "speakers": ["formants"], "texts": str(Path(__file__).with_name("said.txt")), "clips": 24,
            "clips_per_move": 8, "more_every": 3, "filter": "entropy", "keep": 0.5, "labels": "text", "kl": "all",
            "transfer": {"batch": 8},
        },
        stops=(2, 1, 8),  # 1 and 2: not all sounds are spoken; 8: after sifting and the first steps
        moves_apart=((1, 6), (5, 7)),
        learns={"lr": 0.01},
    ),
    "frami/sounds": Case(
        {
            "batch": 8, "iterations": 4, "chunk": 2, "steps_per_batch": 3, "pool": 12, "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 6 and 11: half a batch inverted; at 11 the pool of 12 is full and being renewed
        moves_apart=((1, 6), (6, 7)),
    ),
    "udistil/sounds": Case(
        {
            "speakers": ["formants"], "clips": 24, "clips_per_move": 8, "more_every": 3, "filter": "confidence",
            "keep": 0.5, "transfer": {"batch": 8},
        },
        stops=(2, 1, 8),  # 1 and 2: not all sounds are spoken; 8: after sifting and the first steps
        moves_apart=((1, 6), (5, 7)),
        learns={"lr": 0.02},
    ),
    "noise/two-texts": Case(
        {"source": "frequent", "transfer": {"batch": 8}}, stops=(4, 1, 7), like="noise/tokens",
        learns={"optimizer": "adam", "lr": 0.01, "temperature": 1.0},
    ),
    "noise/spans": Case(  # with the method's own step, which was set for images, such a student diverges
        {"source": "frequent", "transfer": {"batch": 8, "optimizer": "adam", "lr": 0.01, "temperature": 1.0}},
        stops=(4, 1, 7), like="noise/tokens",
    ),
    "noise/tags": Case(
        {"source": "notes", "transfer": {"batch": 8, "optimizer": "adam", "lr": 0.01, "temperature": 1.0}},
        stops=(4, 1, 7), like="noise",
    ),
    "noise/clips": Case({"transfer": {"batch": 8, "temperature": 1.0}}, stops=(4, 1, 7)),
    "echo-dfkd/clips": Case(
        {"pool": 12, "clips_per_move": 4, "steps_per_round": 3, "dice": 0.5, "transfer": {"batch": 4, "lr": 0.02}},
        stops=(6, 1, 9),  # 1: a third of the pool is there; 6: the pool is being renewed
        moves_apart=((1, 6), (4, 8)),
    ),
    "boot/noise": Case(
        {
            "warmup": 3, "ema": 0.5, "boundary_share": 0.5, "solver": "heun", "calls": 2, "guidance": [1.0, 2.0],
            "transfer": {"batch": 8, "optimizer": "adam", "lr": 0.01},
        },
        stops=(4, 1, 7),  # 1: in the warm-up; 4: behind it
        learns={"lr": 0.005, "batch": 64},
        retains=False,
    ),
    "noise/masks": Case({"transfer": {"batch": 8}}, stops=(4, 1, 7)),
    "pool-kd/masks": Case({"share": 0.5, "transfer": {"batch": 8}}, stops=(4, 1, 7)),
    "dafl/masks": Case(
        {"latent": 16, "width": 8, "activation": 0.0, "adversarial": 0.5, "transfer": {"batch": 8}},
        stops=(5, 1, 12),  # 5: between a generator's step and the student's, with the batch pending
    ),
    "dfad/masks": Case(
        {
            "latent": 16, "width": 4, "student_steps": 3, "form": "transposed", "bounded": True,
            "transfer": {"batch": 8, "lr": 0.02},
        },
        stops=(6, 1, 8),  # 6: middle of a round; 8: the generator's step is next
    ),
    "deepinversion/masks": Case(
        {
            "batch": 8, "iterations": 4, "chunk": 2, "steps_per_batch": 3, "pool": 12, "jitter": 1, "flip": True,
            "transfer": {"batch": 8},
        },
        stops=(6, 1, 11),  # 6 and 11: half a batch inverted; at 11 the pool of 12 is full and being renewed
        moves_apart=((1, 6), (6, 7)),
    ),
    "fm/masks": Case(
        {
            "k": 2, "latent": 16, "width": 8, "batch": 8, "warmup_rounds": 1, "steps_per_round": 3, "reset_round": 3,
            "pool": 12, "view": "none", "transfer": {"batch": 8},
        },
        stops=(6, 1, 9),  # 6: the next move re-makes the first layer; 9: middle of a round, pool renewed
        moves_apart=((1, 6), (4, 8)),
    ),
}  # fmt: skip


def rows(names: Iterable[str]) -> list[Any]:
    """Parameters of a test for these rows; those that another row stands for wait for the long tests."""
    return [pytest.param(name, marks=pytest.mark.long if CASES[name].like else ()) for name in names]


SHAPES = {
    "noise", "dafl", "deepinversion", "fm", "nayer", "kd3", "maze", "zerogen/writer", "tabkd/table", "bidf-mkd/panel",
    "udistil/sounds", "boot/noise",
}  # fmt: skip
"""Rows that stand for all others where a test is dear and asks the engine more than the method: fresh batches, pixels
over many moves, generators with a pool, a scan, a writer, replay, a panel, sounds made once, no pool at all."""


def shapes(names: Iterable[str]) -> list[Any]:
    """As `rows`; all but those of SHAPES wait for the long tests."""
    return [pytest.param(name, marks=() if name in SHAPES else pytest.mark.long) for name in names]


ONE_SHAPE = sorted(row for row in CASES if "/" not in row and CASES[row].one_shape)
"""Those whose batches are all of one shape, for what joins older images to them."""
IMAGE_ROWS = sorted(row for row in CASES if "/" not in row)
"""Rows of methods on images and classes, for what only images can have: defences, feature terms, odd sizes."""
