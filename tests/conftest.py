"""What every test may ask for."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tiny import Tiny, make_tiny

from sansdata.engine import probes
from sansdata.errors import MissingLibraryError
from sansdata.models.diffusion.unets import library

torch.set_num_threads(1)  # small tensors: more threads only spin, and the figures of some tests depend on the count
probes.ITERATIONS = 3  # half of the time of a tiny run went into images for a score that no test reads


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same weights in every order of the tests: an unlucky draw of logits, all within 0..1, looks like sigmoids."""
    torch.manual_seed(0)


@pytest.fixture
def real_data() -> Path:
    """The folder of real sets and checkpoints, or a skip."""
    root = os.environ.get("SANSDATA_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("needs real data: set SANSDATA_DATA to the folder that holds it")
    return Path(root)


@pytest.fixture(scope="session")
def vision() -> Iterator[None]:
    """timm and torchvision importable beside a CPU torch, or a skip.

    The registry's torchvision is a CUDA build whose operators are not there; the two that its import asks for are
    defined here. Only in the tests: the package says what to install instead.
    """
    for name in ("torchvision", "timm"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}, which is not installed")
    library = torchvision_operators()
    try:
        for name in ("torchvision", "timm"):
            importlib.import_module(name)
    except Exception as fault:  # whatever the next release dies of
        pytest.skip(f"torchvision and timm do not import beside this torch ({type(fault).__name__}: {fault})")
    yield
    del library


def torchvision_operators() -> torch.library.Library | None:
    """What a torchvision that was built for another torch asks for when it is imported; alive as long as it is held."""
    if hasattr(torch.ops.torchvision, "nms"):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@pytest.fixture(scope="session")
def transformers() -> Iterator[ModuleType]:
    """The library, or a skip; it imports torchvision where that is installed."""
    library = torchvision_operators() if importlib.util.find_spec("torchvision") else None
    yield pytest.importorskip("transformers")
    del library


@pytest.fixture(scope="session")
def diffusers() -> Iterator[Any]:
    """The library, or a skip; it imports torchvision where that is installed."""
    operators = torchvision_operators() if importlib.util.find_spec("torchvision") else None
    try:
        yield library("diffusers")
    except MissingLibraryError as fault:
        pytest.skip(f"pipelines of diffusers are not tried: {fault}")
    del operators


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Files of the tiny world: a teacher, its task, a labelled set."""
    return make_tiny(tmp_path_factory.mktemp("tiny"))
