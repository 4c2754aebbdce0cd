"""Which process of its group this one is, as torchrun tells each in its environment."""

from __future__ import annotations

import os

from .errors import ConfigError

MEND = "Start the processes with torchrun, or unset WORLD_SIZE for a run in one process."


def place_in_group() -> tuple[int, int]:
    """(rank, world): the number of this process, from 0, and how many there are.

    Where WORLD_SIZE names no more than one, RANK counts for nothing: job arrays and launchers of other programs set it
    too. An empty variable is as none. Raises ConfigError for what is no whole number, or a rank that is not below the
    world.
    """
    world = _whole("WORLD_SIZE", 1)
    if world <= 1:
        return 0, 1
    rank = _whole("RANK", 0)
    if rank >= world:
        raise ConfigError(
            f"RANK is {rank}, and WORLD_SIZE says that there are {world} processes, counted from 0. {MEND}"
        )
    return rank, world


def local_rank() -> int:
    """The number of this process among those on its machine, from 0. Raises ConfigError for what is no whole number."""
    return _whole("LOCAL_RANK", 0)


def is_first_process() -> bool:
    """Whether this process prints and writes for its group; true where it is alone. Raises ConfigError as
    `place_in_group` does."""
    return place_in_group()[0] == 0


def _whole(name: str, alone: int) -> int:
    """alone: where the variable is not set, or empty."""
    value = os.environ.get(name) or str(alone)
    if not (value.isascii() and value.isdecimal()):
        raise ConfigError(f"{name} is '{value[:40]}', and no whole number. {MEND}")
    return int(value)
