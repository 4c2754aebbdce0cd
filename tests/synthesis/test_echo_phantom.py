"""The phantom: labels that are exact by construction, the same films again, and domains that differ."""

from __future__ import annotations

import torch

from sansdata.synthesis.echo_phantom import GENERATOR, HOSPITAL, SYSTOLE, emptied, films, scanned


def draw(seed: int = 0, **more: float):
    return films(8, 64, 48, HOSPITAL, torch.Generator().manual_seed(seed), **more)


def test_the_same_generator_draws_the_same_films() -> None:
    assert torch.equal(draw().clips, draw().clips)
    assert not torch.equal(draw().clips, draw(1).clips)


def test_a_beat_empties_as_a_cosine_and_fills_again() -> None:
    phase = torch.linspace(0, 1, 201)
    out = emptied(phase)
    assert out[0] == 0
    assert abs(float(out[200])) < 1e-5
    assert abs(float(phase[out.argmax()]) - SYSTOLE) < 0.006
    assert float(out.max()) <= 1.001
    assert float((out[1:71] - out[:70]).min()) > 0
    assert float((out[72:] - out[71:-1]).max()) < 1e-6


def test_events_are_the_largest_and_smallest_masks_of_each_beat() -> None:
    made = draw()
    areas = made.masks.flatten(2).sum(2)
    assert {film for film, _ in made.ed} == set(range(8))
    for film, frame in made.es:
        around = areas[film, max(0, frame - 6) : frame + 7]
        assert areas[film, frame] <= around.min() + 0.04 * around.max()
    for film, frame in made.ed:
        around = areas[film, max(0, frame - 6) : frame + 7]
        assert areas[film, frame] >= 0.94 * around.max()


def test_ejection_is_that_of_the_volumes_and_domains_differ_in_it() -> None:
    generator = torch.Generator().manual_seed(0)
    wide, narrow = (films(60, 40, 24, domain, generator).ejection_fractions for domain in (GENERATOR, HOSPITAL))
    assert wide.std() > 1.3 * narrow.std()
    assert 10 <= wide.min() < 30
    assert 70 < wide.max() < 91


def test_the_ventricle_is_darker_than_its_wall_and_speckle_moves() -> None:
    made = draw()
    inside, ring = made.masks.bool(), torch.nn.functional.max_pool2d(made.masks.float(), 7, 1, 3).bool()
    clips = made.clips[:, 0].float()
    assert clips[inside].mean() < 0.75 * clips[ring & ~inside].mean()
    assert 2 < (clips[:, 1:] - clips[:, :-1]).abs().mean() < 30
    louder = draw(loudness=2.0).clips[:, 0].float()
    assert louder[ring & ~inside].std() > 1.2 * clips[ring & ~inside].std()


def test_speckle_is_rayleigh_of_the_level_and_edges_are_as_soft_as_it_is_wide() -> None:
    level = torch.full((4, 60, 32, 32), 20.0)
    level[..., 16:] = 60.0
    seen = scanned(level, torch.ones(1), torch.Generator().manual_seed(0))
    for columns, true in ((slice(0, 12), 20.0), (slice(20, 32), 60.0)):
        part = seen[..., columns]
        assert abs(float(part.mean()) / true - 1) < 0.05
        assert abs(float(part.std() / part.mean()) - (4 / torch.pi - 1) ** 0.5) < 0.03
    smooth = scanned(level, torch.zeros(1), torch.Generator().manual_seed(0))[0, 0, 16]
    assert float((smooth[1:] - smooth[:-1]).max()) < 0.5 * 40


def test_no_outline_can_be_read_off_single_pixels() -> None:
    """Across the side of the ventricle, on average, no pixel does most of the rise: what is that sharp is no echo, and
    a network that leans on it sees nothing where the picture is blurred."""
    made = films(60, 1, 48, HOSPITAL, torch.Generator().manual_seed(0))
    inside, clips = made.masks[:, 0].bool(), made.clips[:, 0, 0].float()
    film, row, last = (inside[:, :, 4:-5] & ~inside[:, :, 5:-4]).nonzero().unbind(1)
    across = torch.stack([clips[film, row, last + 4 + away] for away in range(-4, 6)], 1).mean(0)
    assert (across[1:] - across[:-1]).max() < 0.6 * (across.max() - across.min())
