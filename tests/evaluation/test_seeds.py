"""Seeds: the same for the same words, unlike for any others."""

import torch

from milr.evaluation.perturbation import highest
from milr.evaluation.seeds import seed_of


def test_a_seed_for_each_purpose_and_number() -> None:
    seeds = [seed_of(purpose, *numbers) for purpose in ("ties", "noise") for numbers in ((0,), (1,), (0, 1), (1, 0))]
    assert len(set(seeds)) == 8
    assert seed_of("ties", 3, 4) == seed_of("ties", 3, 4)


def test_no_image_of_any_episode_breaks_its_ties_as_another_does() -> None:
    chosen = [highest(torch.ones(3, 8, 8), 0.1, episode) for episode in range(3)]
    patterns = torch.cat(chosen).flatten(1).int().tolist()
    assert len({tuple(pattern) for pattern in patterns}) == 9
