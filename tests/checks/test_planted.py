"""The planted worlds: what their docstrings claim is counted and drawn, and milr takes their networks."""

import math

import pytest
import torch
from resnets import pair_of
from torch import Tensor

from milr.checks.drawn_symbols import CELLS, SYMBOLS, error_of
from milr.checks.gaussian_fields import CHANNELS
from milr.checks.planted import WORLDS
from milr.checks.worlds import LAYERS, World
from milr.explanation.milr import MILR
from milr.information.readings import READINGS

PICTURES = 20_000


def content_and_representation(world: World, count: int) -> tuple[Tensor, Tensor]:
    images = world.pictures(count, 5)
    first = pair_of(world.network, *LAYERS, images[:2]).first_pass(images)
    return first.local.flatten(2).transpose(1, 2), first.representation


def counted_bits(one: Tensor, other: Tensor) -> float:
    """I(one; other) in bits of two discrete tensors of numbers [P], from their counts (too high by some (k-1)/2P)."""
    size = int(other.max()) + 1
    joint = torch.bincount(one * size + other, minlength=(int(one.max()) + 1) * size).view(-1, size).double()
    joint = joint / joint.sum()
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float(torch.where(joint > 0, joint * (joint / apart).clamp(min=1e-300).log2(), 0.0).sum())


def as_number(cells: Tensor) -> Tensor:
    return ((cells > 0).long() * (2 ** torch.arange(cells.shape[1]))).sum(1)


@pytest.mark.parametrize("name", WORLDS)
def test_milr_takes_the_network_and_the_truth_has_the_layers_shape(name: str) -> None:
    world = WORLDS[name]()
    images = world.pictures(16, 0)
    explainer = MILR(world.network, *LAYERS, images[:2])
    explainer.prepare(images.split(8), 16)
    assert images.shape == (16, 3, 32, 32) and explainer.layers.grid == tuple(world.truth.shape) == (8, 8)
    assert torch.equal(world.pictures(16, 0), images) and not torch.equal(world.pictures(16, 1), images)
    assert world.truth.min() >= -1e-9 and world.truth.max() >= 2.9
    assert (world.truth < 1e-6).sum() >= 16


@pytest.mark.parametrize("name", WORLDS)
def test_the_true_densities_readings_have_the_truth_as_their_mean(name: str) -> None:
    world = WORLDS[name]()
    content, representation = content_and_representation(world, 4000)
    for reading in READINGS:
        found = world.single(reading, content, representation)
        assert found.shape == (4000, 8, 8)
        error = found.std(0) / math.sqrt(4000)
        assert ((found.mean(0) - world.truth).abs() <= 5 * error + 1e-6).all(), reading
        assert reading == "sample" or found.min() > -1e-6  # these are divergences


def test_symbols_reach_the_representation_through_a_channel_of_the_set_error() -> None:
    world = WORLDS["symbols"]()
    content, representation = content_and_representation(world, PICTURES)
    assert set(content.unique().tolist()) == set(representation.unique().tolist()) == {-1.0, 1.0}
    first, checked = 0, 0
    for count, wanted in SYMBOLS:
        if count <= 4:  # more cells need more pictures to count
            arrived = as_number(representation[:, first : first + count])
            found = [counted_bits(as_number(content[:, place, :count]), arrived) for place in range(64)]
            place = max(range(64), key=found.__getitem__)
            assert found[place] == pytest.approx(wanted, abs=0.04) and world.truth.flatten()[place] == wanted
            assert sorted(found)[-2] < 0.02  # the partner and every other place tell nothing
            checked += 1
        first += count
    assert checked == 6 and first == representation.shape[1]


def test_the_places_without_information_have_none_about_the_whole_representation() -> None:
    """Places' cells do not move the mean, nor the products of two coordinates, of z."""
    world = WORLDS["symbols"]()
    content, representation = content_and_representation(world, PICTURES)
    pairs = torch.cat([representation, representation[:, :-1] * representation[:, 1:]], dim=1)
    empty = (world.truth.flatten() == 0).nonzero()[:, 0]
    cells = content[:, empty].flatten(1)
    correlation = (cells - cells.mean(0)).T @ pairs / (PICTURES * cells.std(0).clamp(min=0.1)[:, None])
    assert correlation.abs().max() < 6 / math.sqrt(PICTURES)


def test_the_fields_truth_is_that_of_the_drawn_pictures_covariances() -> None:
    world = WORLDS["fields"]()
    content, representation = content_and_representation(world, PICTURES)
    found = []
    for place in range(64):
        both = torch.cat([content[:, place], representation], dim=1).double().T.cov()
        parts = both[:CHANNELS, :CHANNELS], both[CHANNELS:, CHANNELS:], both
        one, other, joint = (torch.linalg.slogdet(part).logabsdet for part in parts)
        found.append(float((one + other - joint) / 2 / math.log(2)))
    assert torch.allclose(torch.tensor(found), world.truth.flatten().float(), atol=0.06)


@pytest.mark.parametrize("capacity", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_the_channels_error_gives_its_capacity(capacity: float) -> None:
    error = error_of(capacity)
    entropy = -sum(share * math.log2(share) for share in (error, 1 - error) if share)
    assert 1 - entropy == pytest.approx(capacity, abs=1e-9) and 0 <= error <= 0.5


def test_no_symbol_holds_more_than_its_cells() -> None:
    assert all(wanted <= count <= CELLS for count, wanted in SYMBOLS)
    assert min(wanted for _, wanted in SYMBOLS) == 0.25 and max(wanted for _, wanted in SYMBOLS) == 6
