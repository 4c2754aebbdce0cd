"""Names that other people's code gives to the weights of networks that are built here, or in a library, under others.

Each dialect renames a name of the file to that of our network. Whether one is spoken is seen by the result: every name
and every shape must then be those of the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """rows: (pattern, replacement), all of which are applied to a name in this order."""

    origin: str
    rows: tuple[tuple[str, str], ...]

    def rename(self, name: str) -> str:
        """The name in our network of what the file calls `name`."""
        for pattern, replacement in self.rows:
            name = re.sub(pattern, replacement, name)
        return name


DIALECTS = (
    Dialect(
        "kuangliu's and Fast-Datafree's ResNets",
        ((r"\.shortcut\.(\d)", r".downsample.\1"), (r"^linear\.", "fc.")),
    ),
    Dialect(
        "WideResNets of Fast-Datafree and ZeroShotKnowledgeTransfer",
        ((r"^(block\d)\.layer\.", r"\1."), (r"\.convShortcut\.", ".shortcut."), (r"^bn1\.", "bn.")),
    ),
    Dialect(
        "weiaicunzai's ResNets",
        (
            (r"^conv1\.0\.", "conv1."), (r"^conv1\.1\.", "bn1."),
            (r"^conv2_x\.", "layer1."), (r"^conv3_x\.", "layer2."),
            (r"^conv4_x\.", "layer3."), (r"^conv5_x\.", "layer4."),
            (r"\.residual_function\.0\.", ".conv1."), (r"\.residual_function\.1\.", ".bn1."),
            (r"\.residual_function\.3\.", ".conv2."), (r"\.residual_function\.4\.", ".bn2."),
            (r"\.shortcut\.(\d)", r".downsample.\1"),
        ),
    ),
    Dialect(
        "RepDistiller's and chenyaofo's CIFAR ResNets",
        ((r"^fc\.", "linear."),),
    ),
    Dialect(
        "akamaster's CIFAR ResNets with projections",
        ((r"\.shortcut\.(\d)", r".downsample.\1"),),
    ),
    Dialect(
        "a network with parts inside DataParallel, torch.compile or FSDP",
        ((r"(^|\.)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)", r""), (r"^\.", "")),
    ),
    Dialect(
        "torchvision's DenseNets of before 2019",
        ((r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2"),),
    ),
)  # fmt: skip


def renamed(dialect: Dialect, names: Mapping[str, str]) -> dict[str, str] | None:
    """`names` (name -> name in the file) under our names; None where two would be one."""
    values = {dialect.rename(name): origin for name, origin in names.items()}
    return values if len(values) == len(names) else None
