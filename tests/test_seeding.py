"""Seeds: the same on every machine, unlike for any others; first weights: the same bits as ever, threads apart."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from toy import SHORT, pictures, prepared, trained_network

from milr.backbones.settings import BackboneSettings
from milr.checks.estimators import gaussian_bits, null_bits
from milr.evaluation.perturbation import highest
from milr.networks.layers import weights_sha256
from milr.networks.randomise import randomised
from milr.seeding import seed_number, seed_of, seeded
from milr.stages.train_protonet import first_network


def test_weights_are_those_that_torchs_own_seed_gives_and_the_generator_goes_on_as_before() -> None:
    torch.manual_seed(3)
    expected = nn.Linear(5, 7)
    torch.manual_seed(8)
    first, second = torch.rand(2)
    torch.manual_seed(8)
    assert torch.rand(()) == first
    with seeded(3):
        found = nn.Linear(5, 7)
    assert torch.equal(found.weight, expected.weight) and torch.equal(found.bias, expected.bias)
    assert torch.rand(()) == second
    with pytest.raises(KeyError), seeded(3):
        raise KeyError
    assert torch.initial_seed() == 8


def test_no_other_device_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, images = prepared(), pictures(32, seed=0)[0]

    def never(*args: object) -> None:
        raise AssertionError("another device is seeded")

    monkeypatch.setattr("torch.manual_seed", never)
    for name in ("cuda.manual_seed_all", "cuda.manual_seed", "mps.manual_seed", "xpu.manual_seed_all"):
        monkeypatch.setattr(f"torch.{name}", never)
    state = torch.get_rng_state()
    explainer.prepare(images.split(16), 32)
    assert explainer.features is not None
    null_bits(explainer, explainer.features, explainer.features, SHORT, seed=0)
    gaussian_bits(explainer, explainer.features, explainer.features, SHORT, seed=0)
    randomised(trained_network(), ["fc"], [images], seed=0)
    settings = SimpleNamespace(seed=0, backbone=BackboneSettings("conv4"), dataset=SimpleNamespace(size=32))
    first_network(settings, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_are_drawn_on_the_cpu_whatever_the_users_device_is() -> None:
    with torch.device("meta"), seeded(3):
        found = nn.Linear(5, 7)
    with seeded(3):
        assert torch.equal(found.weight, nn.Linear(5, 7).weight)


def test_threads_do_not_draw_from_each_others_seed() -> None:
    def draw(seed: int) -> list[float]:
        with seeded(seed):
            numbers = []
            for _ in range(20):
                numbers.append(torch.rand(()).item())
                time.sleep(0.001)  # the others' turn
        return numbers

    alone = [draw(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(draw, range(6))) == alone


def test_a_forgotten_network_is_the_same_from_every_thread() -> None:
    images = pictures(16, seed=0)[0]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: randomised(trained_network(), ["layer2"], [images], seed), [0, 1, 0, 1]))
    prints = [weights_sha256(network) for network in found]
    assert prints[0] == prints[2] != prints[1] == prints[3]


def test_a_seed_for_each_purpose_and_number() -> None:
    seeds = [seed_of(purpose, *numbers) for purpose in ("ties", "noise") for numbers in ((0,), (1,), (0, 1), (1, 0))]
    assert len(set(seeds)) == 8
    assert seed_of("ties", 3, 4) == seed_of("ties", 3, 4)
    assert (seed_of("ties", 3, 4), seed_number("7:1")) == (
        25659888769819161,
        7768823104508221553,
    )  # on every machine, as ever


def test_no_image_of_any_episode_breaks_its_ties_as_another_does() -> None:
    chosen = [highest(torch.ones(3, 8, 8), 0.1, episode) for episode in range(3)]
    patterns = torch.cat(chosen).flatten(1).int().tolist()
    assert len({tuple(pattern) for pattern in patterns}) == 9
