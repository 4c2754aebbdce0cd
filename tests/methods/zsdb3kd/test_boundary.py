"""Searches for a boundary, on boundaries whose distance is known in closed form."""

import pytest
import torch

from sansdata.methods.zsdb3kd.boundary import bisect, nearer, unit, uphill


def plane(points: torch.Tensor) -> torch.Tensor:
    """Beyond x0 = 2."""
    return points[:, 0] > 2


def counted(crossed):
    asked = []
    return (lambda points: (asked.append(len(points)), crossed(points))[1]), asked


@pytest.mark.parametrize("halvings", [1, 6, 20])
def test_bisection_comes_as_near_as_it_was_asked(halvings):
    points = torch.tensor([[0.0, 0.0], [1.0, 5.0], [-2.0, 1.0]])
    directions = unit(torch.tensor([[1.0, 0.0], [1.0, 1.0], [2.0, -1.0]]))
    exact, far = (2 - points[:, 0]) / directions[:, 0], torch.tensor([9.0, 9.0, 9.0])
    crossed, asked = counted(plane)
    reached = bisect(crossed, points, directions, far, halvings)
    assert asked == [3] * halvings
    assert (reached >= exact - 1e-5).all()
    assert (reached - exact <= 9 / 2**halvings + 1e-5).all()


def test_where_nothing_crosses_the_far_end_comes_back():
    far = torch.tensor([3.0])
    assert bisect(plane, torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), far, 5).equal(far)


def test_the_slope_points_to_where_the_boundary_is_farther():
    """Of a plane the distance along a direction grows as it turns away from the normal: by the tangent part of it."""
    generator = torch.Generator().manual_seed(0)
    points, directions = torch.zeros(4, 6), unit(torch.rand(4, 6, generator=generator) + 0.2)
    distances = 2 / directions[:, 0]
    probes = torch.randn(800, 4, 6, generator=generator)
    slope = uphill(plane, points, directions, distances, probes / probes.norm(dim=2, keepdim=True), 0.01)
    normal = torch.eye(6)[0].expand(4, 6)
    exact = unit(-(normal - (normal * directions).sum(1, keepdim=True) * directions))
    assert (torch.nn.functional.cosine_similarity(slope, exact) > 0.95).all()


def test_the_search_ends_at_the_foot_of_the_perpendicular():
    generator = torch.Generator().manual_seed(1)
    points, directions = torch.zeros(3, 4), unit(torch.rand(3, 4, generator=generator) + 0.1)
    distances = 2 / directions[:, 0]
    for _ in range(30):
        probes = torch.randn(60, 3, 4, generator=generator)
        slope = uphill(plane, points, directions, distances, probes / probes.norm(dim=2, keepdim=True), 0.02)
        before = distances
        directions, distances = nearer(plane, points, directions, distances, slope, (0.05, 0.2), 20)
        assert (distances <= before).all()
    assert torch.allclose(distances, torch.full((3,), 2.0), rtol=0.02)
