"""The contract of a method, run on this one: `pytest tests` in this folder."""

from __future__ import annotations

from typing import Any, ClassVar

from sansdata_mixed_noise import MixedNoise

from sansdata.testing import MethodContract


class TestMixedNoise(MethodContract):
    method = MixedNoise
    options: ClassVar[dict[str, Any]] = {"transfer": {"batch": 8}}
