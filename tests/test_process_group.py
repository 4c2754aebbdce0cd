"""Which process of a group this one is: what the environment says, and what it does not mean."""

from __future__ import annotations

import pytest

from sansdata.errors import ConfigError
from sansdata.process_group import is_first_process, local_rank, place_in_group


def environment(patch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        patch.delenv(name, raising=False)
    for name, value in variables.items():
        patch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, (0, 1)),
        ({"RANK": "1"}, (0, 1)),
        ({"RANK": "x"}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": ""}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "1"}, (0, 1)),
        ({"WORLD_SIZE": "0"}, (0, 1)),
        ({"RANK": "", "WORLD_SIZE": "2"}, (0, 2)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
    ],
)
def test_a_rank_counts_where_there_are_several_processes(
    variables: dict[str, str], place: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, **variables)
    assert place_in_group() == place
    assert is_first_process() == (place[0] == 0)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE is 'abc', and no whole number"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE is '-2', and no whole number"),
        ({"WORLD_SIZE": "2", "RANK": "x"}, "RANK is 'x', and no whole number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2, and WORLD_SIZE says that there are 2 processes"),
    ],
)
def test_what_is_no_place_in_a_group_is_refused(
    variables: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, **variables)
    with pytest.raises(ConfigError, match=reason):
        is_first_process()


def test_a_device_is_chosen_by_the_number_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch)
    assert local_rank() == 0
    environment(monkeypatch, LOCAL_RANK="3")
    assert local_rank() == 3
    environment(monkeypatch, LOCAL_RANK="-1")
    with pytest.raises(ConfigError, match="LOCAL_RANK is '-1'"):
        local_rank()
