"""The contract of a method as tests, for packages that bring one: subclass `MethodContract`, and pytest runs it.

from sansdata.testing import MethodContract

class TestMixedNoise(MethodContract):
    method = MixedNoise
    options = {"transfer": {"batch": 8}}
"""

from .contract import MethodContract
from .worlds import WORLDS, World

__all__ = ["WORLDS", "MethodContract", "World"]
