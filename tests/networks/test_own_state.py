"""Networks that write to their own weights and buffers, or keep what they computed, while they run in `eval()`."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

import milr
from milr.errors import MilrError
from milr.networks.freezing import weights_sha256
from milr.networks.own_state import same_state


class Plain(nn.Module):
    """A stem and a head, between which `between` writes to something."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer1, self.pool, self.fc = nn.Conv2d(3, 8, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def between(self, features: Tensor) -> Tensor:
        return features

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pool(self.between(self.layer1(images)).relu()).flatten(1))


class Counts(Plain):
    """How often it ran, which makes no difference, or one."""

    seen: Tensor

    def __init__(self, matters: float = 0.0) -> None:
        super().__init__()
        self.matters = matters
        self.register_buffer("seen", torch.zeros(()))

    def between(self, features: Tensor) -> Tensor:
        self.seen += 1
        return features * (1 + self.matters * self.seen)


class Keeps(Plain):
    """The head's weights at a norm of 1, as constraints in the forward do."""

    def between(self, features: Tensor) -> Tensor:
        self.fc.weight.data = nn.functional.normalize(self.fc.weight.data, dim=1)
        return features


class ActNorm(Plain):
    """Mean and spread are taken from the first images, which a buffer remembers, or a value of Python's."""

    done: Tensor

    def __init__(self, buffer: bool) -> None:
        super().__init__()
        self.loc, self.buffer, self.ran = nn.Parameter(torch.zeros(1, 8, 1, 1)), buffer, False
        self.register_buffer("done", torch.zeros(()))

    def between(self, features: Tensor) -> Tensor:
        if not (self.done if self.buffer else self.ran):
            self.loc.data.copy_(features.detach().mean((0, 2, 3), keepdim=True))
            self.done.fill_(1)
            self.ran = True
        return features - self.loc


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def prepared(network: nn.Module) -> milr.MILR:
    explainer = milr.MILR(network, "layer1", "pool", example=images())
    explainer.prepare(images().split(3))
    explainer.fitted = True
    return explainer


def test_what_is_counted_and_makes_no_difference_is_put_back(tmp_path: Path) -> None:
    network = Counts()
    network(images())
    before, explainer = weights_sha256(network), prepared(network)
    maps = explainer(images())
    assert weights_sha256(network) == before and float(network.seen) == 1
    network(images())  # by its user
    assert torch.equal(explainer(images()).decision, maps.decision) and float(network.seen) == 2
    explainer.save(tmp_path / "milr.pt")
    milr.load(tmp_path / "milr.pt", network)


def test_what_another_result_comes_of_is_refused_and_as_it_was() -> None:
    network = Counts(matters=0.1)
    with pytest.raises(MilrError, match="changes its buffer 'seen' while it runs in eval"):
        milr.MILR(network, "layer1", "pool", example=images())
    assert float(network.seen) == 0


def test_weights_that_are_kept_at_a_norm_are_the_networks_own(tmp_path: Path) -> None:
    network, other = Keeps(), Keeps()
    explainer = prepared(network)
    with torch.no_grad():
        plain = network(images())
    torch.testing.assert_close(explainer(images()).output, plain)
    explainer.save(tmp_path / "milr.pt")
    milr.load(tmp_path / "milr.pt", other)  # which never ran


@pytest.mark.parametrize("buffer", [True, False])
def test_weights_that_are_taken_from_the_first_images_are_not_taken_from_noise(buffer: bool) -> None:
    for use in (prepared, lambda network: milr.layers(network, images())):
        with pytest.raises(MilrError, match="takes its parameter 'loc' from the first images .*run it once on a batch"):
            use(ActNorm(buffer))
    network = ActNorm(buffer)
    network(images())
    torch.testing.assert_close(prepared(network)(images()).output, network(images()).detach())


class Attribute(Plain):
    """A mean that is a plain attribute: of the first images, a moving one, or what is left of the last images."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.mean, self.passes = kind, None if kind == "first" else torch.zeros(8, 1, 1), 0

    def between(self, features: Tensor) -> Tensor:
        mean, self.passes = features.detach().mean((0, 2, 3))[:, None, None], self.passes + 1
        if self.mean is None or self.kind == "last":
            self.mean = mean
        elif self.kind != "first":
            self.mean = torch.lerp(self.mean, mean, 1e-4 if self.kind == "slow" else 0.5)
        return features if self.kind == "last" else features - self.mean


def test_what_is_kept_in_plain_attributes_is_the_networks_own_state() -> None:
    for kind, message in (("first", "attribute 'mean' from the first images"), ("moving", "changes its attribute '")):
        network = Attribute(kind)
        with pytest.raises(MilrError, match=message):
            milr.MILR(network, "layer1", "pool", example=images())
        assert network.passes == 0 and (network.mean is None or not network.mean.any())
    network = Attribute("slow")
    network(images())
    mean = network.mean
    explainer = prepared(network)
    assert torch.equal(explainer(images()).decision, explainer(images()).decision)
    assert network.mean is mean and network.passes == 1
    network = Attribute("last")
    prepared(network).layers.first_pass(images(2))
    torch.testing.assert_close(network.mean, network.layer1(images(2)).mean((0, 2, 3))[:, None, None])


class Running:
    """A mean of the images so far, as people keep it beside a network."""

    def __init__(self) -> None:
        self.mean: Tensor | float = 0.0


class InContainers(Plain):
    """State in a dict, a list, a deque, an object: of the first images, moving, or a log that nothing reads."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.log, self.seen, self.by_size = kind, list[float](), set[float](), dict[int, Tensor]()
        self.first, self.last, self.running = dict[str, Tensor](), deque([torch.zeros(8, 1, 1)], maxlen=2), Running()

    def between(self, features: Tensor) -> Tensor:
        mean = features.detach().mean((0, 2, 3))[:, None, None]
        if self.kind == "first":
            return features - self.first.setdefault("mean", mean)
        if self.kind == "last":
            self.last.append(mean)
            return features - sum(self.last)
        if self.kind == "object":
            self.running.mean = torch.lerp(torch.zeros(8, 1, 1) + self.running.mean, mean, 0.5)
            return features - self.running.mean
        self.log.append(float(mean[0]))
        self.seen.add(float(mean[0]))
        return features + self.by_size.setdefault(features.shape[2], torch.linspace(0, 1, features.shape[2]))


def test_what_is_kept_in_lists_dicts_and_objects_is_the_networks_own_state() -> None:
    for kind, message in (
        ("first", r"attribute 'first\[mean\]' from the first images"),
        ("last", r"changes its attribute 'last\["),
        ("object", r"changes its attribute 'running\[mean\]'"),
    ):
        network = InContainers(kind)
        last = network.last
        with pytest.raises(MilrError, match=message):
            milr.MILR(network, "layer1", "pool", example=images())
        assert not network.first and network.last is last and len(last) == 1 and network.running.mean == 0.0
    network = InContainers("log")
    network(images())
    log = list(network.log)
    assert prepared(network)(images()).total.shape == (6, 8, 8)
    assert network.log == log and len(network.seen) == 1 and [*network.by_size] == [8]


class Sealed(dict[str, int]):
    """It refuses writes, as frozen configurations do."""

    def clear(self) -> None:
        raise TypeError("sealed")


class Kind(type):
    """A metaclass: its classes have fields that cannot be written to as those of objects."""


class Parent:
    """It and its children know each other, as the sections of a configuration do."""

    def __init__(self) -> None:
        self.above: Parent | None = None
        self.options = {"rate": 1}
        self.children: list[Parent] = []

    def __repr__(self) -> str:
        return f"Parent({self.options}, {self.children})"


def test_containers_in_each_other_and_such_as_refuse_writes_are_left_as_they_were() -> None:
    deep: list[Any] = [1]
    for _ in range(12):
        deep = [deep]
    top, first, second = Parent(), Parent(), Parent()
    top.children, first.above, second.above = [first, second], top, top
    option, table = Kind("Option", (), {"rate": 1}), np.broadcast_to(np.arange(8.0), (2, 8))
    held = {"deep": deep, "top": top, "sealed": Sealed(rate=1), "option": option, "table": table}
    network, before = Plain(), repr(held)
    vars(network).update(held)
    with same_state(network):
        second.options["rate"] = 2
        top.children.append(Parent())
    assert repr(held) == before


class MadeLater(Plain):
    """A layer that is made by the first images' size."""

    def __init__(self) -> None:
        super().__init__()
        self.made: nn.Module | None = None

    def between(self, features: Tensor) -> Tensor:
        if self.made is None:
            self.made = nn.Conv2d(features.shape[1], features.shape[1], 1)
        return self.made(features)


def test_a_layer_that_is_made_in_the_first_pass_stays_whole() -> None:
    assert prepared(MadeLater())(images()).total.shape == (6, 8, 8)


class Remembers(Plain):
    """What was computed of images that it has seen, found by their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.memo: dict[float, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        key = float(images.double().sum())
        if key not in self.memo:
            self.memo[key] = self.layer1(images)
        return self.fc(self.pool(self.memo[key].relu()).flatten(1))


class Biased(Plain):
    """A bias that a layer makes of places alone, once."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.bias = nn.Linear(1, 8), torch.zeros(0)

    def between(self, features: Tensor) -> Tensor:
        if self.bias.shape[1:] != features.shape[2:]:
            column = self.places(torch.linspace(0, 1, features.shape[2])[:, None])
            self.bias = column.T[:, :, None].expand(-1, -1, features.shape[3]).detach()
        return features + self.bias


def test_layers_that_do_not_run_for_images_that_were_seen_are_named() -> None:
    for names in ((), ("layer1", "pool")):
        with pytest.raises(MilrError, match="layer 'layer1' did not run when the network was given the same images"):
            milr.MILR(Remembers(), *names, example=images())
    assert prepared(Biased())(images()).total.shape == (6, 8, 8)


def test_a_little_noise_before_all_layers_is_not_said_to_mix_images() -> None:
    class Noisy(Plain):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images + 1e-3 * torch.randn_like(images))

    with pytest.raises(MilrError, match="two results for the same images: .* is random"):
        milr.MILR(Noisy(), "layer1", "pool", example=images())


def test_hidden_states_of_transformers_are_not_captured_twice() -> None:
    sizes = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 1, 2, 2]}
    config = SegformerConfig(**sizes, decoder_hidden_size=16, num_labels=2)
    network, images = SegformerForSemanticSegmentation(config).eval(), torch.randn(2, 3, 64, 64)
    assert milr.MILR(network, example=images).layers.z  # its head reads the hidden states by their number
    assert network(images).logits.shape == (2, 2, 16, 16)
