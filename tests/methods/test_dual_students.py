"""DS and DisGUIDE: whose statistics normalise the images that the students learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.runtime import Runtime
from sansdata.testing.worlds import WORLDS

WORLD = WORLDS["image"]


@pytest.mark.parametrize("name", ["dual-students", "disguide"])
def test_images_to_learn_leave_no_trace_in_the_generator(name: str) -> None:
    config = method_config(name, "default", {"latent": 16, "width": 8, "transfer": {"batch": 8}})
    session = Session(find_method(name), config, WORLD.teacher(), WORLD.student(), WORLD.task, Runtime(), 3, 12)
    session.move()  # the generator's
    generator: Any = session.method.generator  # type: ignore[attr-defined]
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    kind, _ = session.move()
    assert kind == "transfer"
    assert all(torch.equal(value, before[key]) for key, value in generator.state_dict().items())
    assert generator.training  # and for its own next step it is as it was
