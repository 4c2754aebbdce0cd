"""How far an image is from where a classifier changes its mind, found by asking for classes alone.

Every search asks the same number of questions whatever the answers, so that what a run costs is known before it
begins. Deviation: the released searches go on until a bracket is narrow enough or a direction crosses.

Points are rows (B, D), directions unit rows (B, D), distances (B,) >= 0 by the L2 norm.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Crossed = Callable[[Tensor], Tensor]
"""Points (B, D) -> (B,) bool, whether each lies beyond the boundary of the row that it belongs to."""


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays as it is."""
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)


def bisect(crossed: Crossed, points: Tensor, directions: Tensor, far: Tensor, halvings: int) -> Tensor:
    """(B,) the distance of the boundary along each direction, at most `far` / 2^`halvings` too large.

    far: (B,) distances that lie beyond it; where none does, `far` itself comes back. Asks `halvings` times.
    """
    near, far = torch.zeros_like(far), far.clone()
    for _ in range(halvings):
        middle = (near + far) / 2
        beyond = crossed(points + middle[:, None] * directions)
        near, far = torch.where(beyond, near, middle), torch.where(beyond, middle, far)
    return far


def uphill(
    crossed: Crossed, points: Tensor, directions: Tensor, distances: Tensor, probes: Tensor, size: float
) -> Tensor:
    """(B, D) unit rows along which the distance grows fastest, by the signs of `probes` (Q, B, D), unit rows.

    A direction turned a little by a probe either crosses at the present distance, so that the boundary is nearer
    there, or does not (Sign-OPT). size: how far it is turned. Asks Q times.
    """
    slope = torch.zeros_like(points)
    for probe in probes:
        beyond = crossed(points + distances[:, None] * unit(directions + size * probe))
        slope += torch.where(beyond, -1.0, 1.0)[:, None] * probe
    return unit(slope)


def nearer(
    crossed: Crossed,
    points: Tensor,
    directions: Tensor,
    distances: Tensor,
    slope: Tensor,
    turns: tuple[float, ...],
    halvings: int,
) -> tuple[Tensor, Tensor]:
    """Directions turned against `slope`, and the distances there, where one of the `turns` brings the boundary nearer;
    else as they were. Asks 1 + `halvings` times for each turn."""
    for turn in turns:
        turned = unit(directions - turn * slope)
        closer = crossed(points + distances[:, None] * turned)
        crossings = bisect(crossed, points, turned, distances, halvings)
        better = closer & (crossings < distances)
        directions = torch.where(better[:, None], turned, directions)
        distances = torch.where(better, crossings, distances)
    return directions, distances
