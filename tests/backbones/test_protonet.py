"""A trained network's way through a checkpoint."""

import pytest
import torch

from milr.backbones.backbones import build_backbone
from milr.backbones.origins import Origin
from milr.backbones.protonet import PrototypicalNetwork, represent
from milr.data.augmentation import IMAGENET
from milr.errors import MilrError
from milr.networks.layers import weights_sha256
from milr.networks.settings import MetricSettings


def network() -> PrototypicalNetwork:
    return PrototypicalNetwork(
        Origin("resnet10", "milr", 32),
        build_backbone("resnet10"),
        MetricSettings("cosine", 0.1),
        torch.zeros(512),
        ("a",),
    )


def test_state_and_back_is_the_same_network() -> None:
    before = network()
    after = PrototypicalNetwork.from_state(before.state(), "resnet10")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(after.network(images), before.network.eval()(images))
    assert weights_sha256(after.network) == weights_sha256(before.network)
    assert (after.metric, after.origin, after.classes) == (before.metric, before.origin, ("a",))


def test_another_backbone_or_a_part_that_is_missing_is_told() -> None:
    state = network().state()
    with pytest.raises(MilrError, match="holds a resnet10, not a resnet18"):
        PrototypicalNetwork.from_state(state, "resnet18")
    with pytest.raises(MilrError, match="does not fit resnet12"):
        PrototypicalNetwork.from_state({**state, "origin": {**state["origin"], "name": "resnet12"}})
    del state["metric"]
    with pytest.raises(MilrError, match="lacks metric"):
        PrototypicalNetwork.from_state(state)


def test_a_checkpoint_of_before_is_of_an_own_network_with_imagenets_statistics() -> None:
    state = network().state()
    del state["origin"]
    assert PrototypicalNetwork.from_state(state).origin == Origin("resnet10", "milr", 32, IMAGENET)


def test_the_fingerprint_sees_a_single_bit_of_a_buffer() -> None:
    model = build_backbone("resnet10")
    before = weights_sha256(model)
    assert weights_sha256(model) == before
    model.bn1.running_mean[3] += 1e-7
    assert weights_sha256(model) != before


def test_representations_leave_the_mode_and_the_statistics_alone() -> None:
    model = build_backbone("resnet10").train()
    before = weights_sha256(model)
    images = torch.randn(5, 3, 32, 32)
    assert represent(model, images.split(2)).shape == (5, 512)
    assert model.training and weights_sha256(model) == before
