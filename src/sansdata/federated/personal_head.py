"""A client's own model out of two halves: its blocks below a cut, and above them a head that all clients trained.

A head that learned from images of which a share u[y] has label y answers p(y | h) ~ p(h | y) u[y]. Where the shares are
n[y] instead, as at one client, the logits need + log n[y] - log u[y], and that is in the predictor's bias alone: the
personal model is a plain network of the common architecture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import StudentError


def predictor_bias(blocks: Sequence[nn.Module], classes: int) -> nn.Parameter:
    """The bias (K,) of the last block's last linear layer. Raises StudentError where there is none."""
    layers = [part for part in blocks[-1].modules() if isinstance(part, nn.Linear)]
    if not layers or not isinstance(layers[-1].bias, nn.Parameter) or len(layers[-1].bias) != classes:
        raise StudentError(
            f"a client's shares of the classes go into the bias of the predictor, and the last block of this network "
            f"has no linear layer with {classes} of them; take such a network, or personal=own"
        )
    return layers[-1].bias


@torch.no_grad()
def put_head(blocks: Sequence[nn.Module], cut: int, head: Mapping[str, Tensor], own: Tensor, union: Tensor) -> None:
    """Loads a head's state over the blocks above `cut`, and turns its answers to the client's shares of the classes.

    own, union: (K,) label counts of the client and of what the head learned from. Each has one image of every class
    more, so that a class the client has not shown is rare there, and not impossible.
    """
    nn.Sequential(*blocks[cut:]).load_state_dict(dict(head))
    bias = predictor_bias(blocks, len(own))
    bias += (log_shares(own) - log_shares(union)).to(bias)


def log_shares(counts: Tensor) -> Tensor:
    """(K,) log of (counts + 1), divided by their sum."""
    return (counts.double() + 1).log() - (counts.double() + 1).sum().log()
