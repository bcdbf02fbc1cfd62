"""A network of which some layers are drawn anew, and only those."""

import copy

import torch
from torch import nn
from toy import pictures, trained_network

from milr.networks.layers import weights_sha256
from milr.networks.randomise import blocks, randomised


def test_only_the_named_layers_forget() -> None:
    network = trained_network()
    before = weights_sha256(network)
    assert blocks(network) == ["fc", "layer2", "layer1"]
    images = pictures(64, seed=0)[0]
    copied = randomised(network, ["fc", "layer2"], [images], seed=0)
    assert weights_sha256(network) == before and not network.training
    with torch.no_grad():
        assert torch.equal(copied.layer1(images), network.layer1(images))
        upper = copied.layer2(copied.layer1(images))
        assert not torch.allclose(upper, network.layer2(network.layer1(images)), atol=0.1)
    norm = copied.layer2[1]
    assert not norm.training and norm.momentum == 0.1
    # after its own statistics a normalised layer is spread as a normalised layer should be, not dead
    assert 0.2 < upper.std() < 2


def test_one_seed_one_network() -> None:
    images = pictures(32, seed=0)[0]
    first, second, other = (randomised(trained_network(), ["layer2"], [images], seed) for seed in (0, 0, 1))
    assert weights_sha256(first) == weights_sha256(second) != weights_sha256(other)


def test_weights_that_no_layer_can_draw_anew_change_places() -> None:
    network = copy.deepcopy(trained_network())
    network.layer2.register_parameter("scale", nn.Parameter(torch.arange(50.0)))
    scale = randomised(network, ["layer2"], [pictures(8, seed=0)[0]], seed=0).layer2.scale
    assert not torch.equal(scale, network.layer2.scale) and torch.equal(scale.sort()[0], torch.arange(50.0))


def test_a_network_in_a_wrapper_has_the_layers_of_the_network() -> None:
    assert blocks(nn.Sequential(trained_network())) == ["0.fc", "0.layer2", "0.layer1"]
