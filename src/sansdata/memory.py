"""What was acquired and is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from . import columns
from .columns import Inputs
from .contracts import Batch
from .decoding import pixels


class Codec(Protocol):
    """How inputs are kept: an input kind, of which only this is asked."""

    def pack(self, inputs: Inputs) -> Inputs: ...
    def unpack(self, packed: Inputs) -> Inputs: ...


class Pixels:
    """Images as uint8: the codec of pools of images."""

    def pack(self, inputs: Inputs) -> Inputs:
        return columns.each(pixels.pack, inputs)

    def unpack(self, packed: Inputs) -> Inputs:
        return columns.each(pixels.unpack, packed)


class Pool:
    """A ring of inputs as they are stored, with targets and, where given, the teacher's answers to the stored inputs.

    Deviation: released code keeps the pool as PNG files that later runs find again; this one ends with the run.
    A pooled image is the stored one: give `add` the answers to unpack(pack(images)), not to `images`.
    """

    def __init__(self, capacity: int, codec: Codec | None = None) -> None:
        """codec: None is that of images."""
        self.capacity, self.codec = capacity, codec or Pixels()
        self.inputs: Inputs | None = None
        self.targets: Tensor | None = None
        self.logits: Tensor | None = None
        self.added = 0
        """How many were ever added; the newest stands at (added - 1) % capacity."""

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, inputs: Inputs, targets: Tensor, logits: Tensor | None = None) -> None:
        """inputs as they travel, targets (B, ...) whole numbers, logits (B, ...) as their kind keeps answers; from the
        first that come without on, none are kept. The oldest make room."""
        packed = self.codec.pack(inputs)
        if self.inputs is None:
            self.inputs = columns.each(self._room, packed)
            self.targets = self._room(targets)
            if logits is not None:
                self.logits = self._room(logits)
        count = columns.count(packed)
        newest = slice(max(0, count - self.capacity), count)  # a place is written once: the last of several stands
        place = (self.added + torch.arange(count)[newest]) % self.capacity
        columns.each(lambda mine, new: _put(mine, place, new[newest]), self.inputs, packed)
        assert self.targets is not None
        _put(self.targets, place, targets[newest])
        if logits is None:  # answers are kept of all or of none
            self.logits = None
        elif self.logits is not None:
            _put(self.logits, place, logits[newest].detach())
        self.added += count

    def settle(self, device: torch.device, room: int) -> None:
        """Moves the inputs, with the place that is kept free for more, to `device` where they are not there yet and
        need at most `room` bytes: a step then sends places and not inputs."""
        if self.inputs is None:
            return
        inputs = columns.parts(self.inputs)
        if any(part.device != device for part in inputs) and sum(part.nbytes for part in inputs) <= room:
            self.inputs = columns.each(lambda column: column.to(device), self.inputs)

    def _room(self, column: Tensor) -> Tensor:
        return torch.empty(self.capacity, *column.shape[1:], dtype=column.dtype)

    def packed(self) -> Inputs | None:
        """What is kept, as it is stored, in its places; None where nothing was added yet."""
        return None if self.inputs is None else columns.take(self.inputs, slice(len(self)))

    def sample(self, count: int, generator: torch.Generator) -> Batch:
        """`count` inputs drawn evenly with replacement; extras['logits'] where they are kept."""
        if self.inputs is None or self.targets is None:
            raise RuntimeError("the pool is empty: a method must acquire before it transfers")
        ids = torch.randint(len(self), (count,), generator=generator)
        places = ids.to(columns.parts(self.inputs)[0].device)
        batch = Batch(self.codec.unpack(columns.take(self.inputs, places)), targets=self.targets[ids])
        if self.logits is not None:
            batch.extras["logits"] = self.logits[ids]
        return batch

    def state_dict(self) -> dict[str, Any]:
        count = len(self)
        answers = {"targets": self.targets, "logits": self.logits}
        return {
            "added": self.added,
            "images": self.packed(),
            **{name: None if column is None else column[:count] for name, column in answers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError where as many rows are not there as were added: the rest would be whatever memory holds."""
        kept = [state[name] for name in ("images", "targets", "logits") if state[name] is not None]
        _require_rows(min(state["added"], self.capacity), kept)
        self.added = state["added"]
        self.inputs = None if state["images"] is None else columns.each(self._restored, state["images"])
        self.targets, self.logits = (
            None if state[name] is None else self._restored(state[name]) for name in ("targets", "logits")
        )

    def _restored(self, rows: Tensor) -> Tensor:
        column = torch.empty(self.capacity, *rows.shape[1:], dtype=rows.dtype)
        column[: len(rows)] = rows
        return column


def _require_rows(count: int, kept: Sequence[Inputs]) -> None:
    """Raises ValueError where a column has not `count` rows."""
    rows = [columns.count(column) for column in kept]
    if count < 0 or any(one != count for one in rows) or (count and not rows):
        raise ValueError(f"{count:,} rows are said to be kept, and {', '.join(map(str, rows)) or 'none'} are there")


def _put(column: Tensor, place: Tensor | int, values: Tensor) -> Tensor:
    column[place.to(column.device) if isinstance(place, Tensor) else place] = values.to(column.device)
    return column


class Slot:
    """Named values that outlive a move: tensors, numbers, text, and lists and dicts of them."""

    def __init__(self, **values: Any) -> None:
        self.values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.values[name] = value

    def state_dict(self) -> dict[str, Any]:
        return dict(self.values)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values = dict(state)


class Reservoir:
    """An even sample of everything ever offered (Vitter's algorithm R), as it is stored."""

    def __init__(self, capacity: int, codec: Codec | None = None) -> None:
        """codec: None is that of images."""
        self.capacity, self.codec = capacity, codec or Pixels()
        self.packed: Inputs | None = None
        self.offered = 0

    def offer(self, inputs: Inputs, generator: torch.Generator) -> None:
        """inputs as they travel."""
        offered = self.codec.pack(inputs)
        room = self.capacity - (0 if self.packed is None else columns.count(self.packed))
        first, rest = columns.take(offered, slice(room)), columns.take(offered, slice(room, None))
        if columns.count(first):
            self.packed = columns.copied(first) if self.packed is None else columns.join([self.packed, first])
            self.offered += columns.count(first)
        for number in range(columns.count(rest)):
            self.offered += 1
            place = int(torch.randint(self.offered, (), generator=generator))
            if place < self.capacity:
                assert self.packed is not None
                columns.each(lambda mine, new: _put(mine, place, new[number]), self.packed, rest)  # noqa: B023

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.packed, "offered": self.offered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError where as many rows are not there as were offered and have room."""
        packed, offered = state["images"], state["offered"]
        _require_rows(min(offered, self.capacity), [] if packed is None else [packed])
        self.packed, self.offered = packed, offered


class FeatureBank:
    """A ring of feature vectors (D,) of what was made before, float32 on the CPU."""

    def __init__(self, capacity: int, size: int) -> None:
        """size: D."""
        self.capacity = capacity
        self.rows = torch.empty(capacity, size)
        self.added = 0
        """How many were ever added; the newest stands at (added - 1) % capacity."""

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, features: Tensor) -> None:
        """features (B, D). The oldest make room."""
        newest = features.detach().float().cpu()[-self.capacity :]
        self.added += len(features)
        self.rows[torch.arange(self.added - len(newest), self.added) % self.capacity] = newest

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(n, D): `count` of them drawn without repeats, all in random order where there are fewer."""
        return self.rows[torch.randperm(len(self), generator=generator)[:count]]

    def state_dict(self) -> dict[str, Any]:
        return {"added": self.added, "rows": self.rows[: len(self)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError where as many rows are not there as were added and have room."""
        _require_rows(min(state["added"], self.capacity), [state["rows"]])
        self.added = state["added"]
        self.rows[: len(self)] = state["rows"].cpu()
