"""Where a module lives."""

from __future__ import annotations

import torch
from torch import nn

from .sharded import is_sharded


def device_of(module: nn.Module) -> torch.device:
    """The device of the first parameter; of a module that is shared out, of the first whose numbers are there. The CPU
    for a module without any."""
    places = [one.device for one in module.parameters() if not (one.is_meta and is_sharded(module))]
    return places[0] if places else torch.device("cpu")
