"""Where a module lives."""

from __future__ import annotations

import torch
from torch import nn


def device_of(module: nn.Module) -> torch.device:
    """The device of the first parameter that lies on one; the CPU for a module without any."""
    return next((one.device for one in module.parameters() if not one.is_meta), torch.device("cpu"))
