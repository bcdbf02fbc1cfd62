"""Networks that give, choose or change what most do not: refused as what they are, or read as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from resnets import images, pair_of
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

import milr
from milr.errors import MilrError
from milr.networks.layers import LayerPair
from milr.networks.settings import LayerSettings


class Odd(nn.Module):
    """Two layers, of which `between` and `end` make something else."""

    def __init__(self, between: Callable[[Tensor], Tensor] | None = None, end: Any = None, act: Any = None) -> None:
        super().__init__()
        self.first = act or (lambda given: given)
        torch.manual_seed(0)
        self.layer1, self.between, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Identity(), nn.Linear(8, 4)
        self.act, self.end = between or (lambda given: given), end or (lambda given: given)

    def forward(self, given: Tensor) -> Any:
        z = self.between(self.act(self.first(self.layer1(given)).relu().mean((2, 3))))
        return self.end(self.fc(z.abs()))


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype")
def test_numbers_that_are_no_floats_of_one_dense_tensor_are_refused_as_what_they_are() -> None:
    for end, message in (
        (torch.fft.fft, r"complex numbers \[2, 4\]"),
        (Tensor.to_sparse, "a sparse tensor"),
        (lambda given: torch.nested.as_nested_tensor(list(given)), "a nested tensor"),
    ):
        with pytest.raises(MilrError, match=f"the network gives {message}: give a function .*output="):
            pair_of(Odd(end=end), "layer1", "between", images())
    with pytest.raises(MilrError, match="'between' gives complex numbers: .*read=lambda z"):
        pair_of(Odd(torch.fft.fft), "layer1", "between", images())


class Experts(nn.Module):
    """Each image goes to one of two experts; with a `capacity` each takes half of the batch."""

    def __init__(self, capacity: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.capacity, self.layer1, self.gate = capacity, nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 1)
        self.experts = nn.ModuleList(nn.Conv2d(8, 8, 3, 1, 1) for _ in range(2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, given: Tensor) -> Tensor:
        features = self.layer1(given)
        score = self.gate(features.mean((2, 3)))[:, 0]
        second = score.argsort().argsort() >= (len(given) + 1) // 2 if self.capacity else given[:, 0, 0, 0] > 1
        made = torch.zeros_like(features)
        for expert, own in zip(self.experts, (~second, second), strict=True):
            if own.any():
                made[own] = expert(features[own])
        return self.fc(self.avgpool(made.relu()).flatten(1))


def test_experts_that_share_out_a_batch_are_noticed() -> None:
    with pytest.raises(MilrError, match="depends on the other images of the batch"):
        pair_of(Experts(True), "layer1", "avgpool", images())


def test_a_layer_that_sees_some_of_the_images_is_no_layer_of_all() -> None:
    given = images(4).clamp(-1, 1)
    layers = LayerPair(Experts(False), given, LayerSettings("layer1", "avgpool"), ["layer1", "experts.0"])
    assert len(layers.first_pass(given).local) == 4
    given[0, 0, 0, 0] = 2.0
    with pytest.raises(MilrError, match=r"'experts.0' gives \[3, 8, .*for 4 images: it must run on all of them"):
        layers.first_pass(given)
    with pytest.raises(MilrError, match="'experts.0' did not run"):
        layers.first_pass(given[:1])


def dropped(features: Tensor) -> Tensor:
    return stochastic_depth(features, 1e-4, "row", training=True)


def skipped(features: Tensor) -> Tensor:
    return features if torch.rand(()) < 1e-4 else 2 * features


def not_dropped(features: Tensor) -> Tensor:
    kept = stochastic_depth(features, 0.0, "batch", training=True)
    return kept * (1.0 + torch.rand(len(kept), 1, 1, 1)).floor_() if torch.rand(()) < 2 else kept


WITHOUT_EFFECT: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda features: features * (torch.rand(len(features), 1, 1, 1) > 0.0),
    lambda features: features * torch.bernoulli(torch.zeros(len(features), 1, 1, 1), 1.0),
    lambda features: features * torch.zeros(len(features), 1, 1, 1).bernoulli(p=1.0),
    lambda features: features * (torch.empty(len(features), 1, 1, 1).uniform_(1.0, to=2.0) >= 1.0),
    lambda features: features - 0.0 * torch.rand_like(features).log().neg().log(),
)


def test_what_is_random_in_one_pass_of_thousands_is_noticed() -> None:
    for between in (dropped, skipped):
        with pytest.raises(MilrError, match="draws random numbers, also in eval"):
            pair_of(Odd(act=between), "layer1", "between", images())
    for kept in (not_dropped, *WITHOUT_EFFECT):
        pair_of(Odd(act=kept), "layer1", "between", images())


def test_a_network_that_works_on_its_input_in_place_leaves_the_users_images() -> None:
    given = images()
    before, network = given.clone(), Odd()
    network.register_forward_pre_hook(lambda module, inputs: (inputs[0].sub_(0.5).mul_(2),))
    layers = pair_of(network, "layer1", "between", given)
    output = layers.first_pass(given).output
    assert torch.equal(given, before)
    assert torch.allclose(output, Odd()(2 * (before - 0.5)), atol=1e-5)


def test_a_part_in_torchscript_runs_as_one() -> None:
    network = Odd()
    plain = pair_of(network, "layer1", "between", images()).first_pass(images())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch call it deprecated
        network.fc = torch.jit.script(network.fc)
    assert torch.allclose(pair_of(network, "layer1", "between", images()).first_pass(images()).output, plain.output)


def test_a_network_of_videos_says_what_its_layers_give() -> None:
    network = nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    with pytest.raises(MilrError, match=r"layers give \[C, T, H, W\], and milr explains places of images"):
        LayerPair(network, torch.rand(2, 3, 4, 16, 16), LayerSettings())


class Kept(nn.Module):
    """A U-Net whose skip connection is what a hook of its own kept, as some packages build them."""

    def __init__(self, hook: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer1, self.down = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, 2, 1)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 4)
        self.kept: dict[str, Tensor] = {}
        if hook:
            self.layer1.register_forward_hook(lambda module, inputs, output: self.kept.update(skip=output))

    def forward(self, given: Tensor) -> Tensor:
        features = self.layer1(given)
        lower = self.down(features.relu())
        skip = self.kept.pop("skip", features)
        return self.fc(self.avgpool(torch.cat([lower, nn.functional.max_pool2d(skip, 2)], 1)).flatten(1))


def test_what_a_hook_of_the_networks_own_keeps_is_what_the_mask_lets_pass(caplog: pytest.LogCaptureFixture) -> None:
    given = images()
    pairs = [pair_of(Kept(hook), "layer1", "avgpool", given) for hook in (False, True)]
    firsts = [pair.first_pass(given) for pair in pairs]
    outputs = [pair.second_pass(first.local.flip(0), given).output for pair, first in zip(pairs, firsts, strict=True)]
    assert torch.equal(outputs[0], outputs[1]) and torch.allclose(outputs[1], firsts[1].output.flip(0), atol=1e-6)
    assert "goes past the local layer" not in caplog.text


def test_a_hook_of_the_networks_own_that_changes_a_layer_is_run_once() -> None:
    given, network = images(), Kept(False)
    network.layer1.register_forward_hook(lambda module, inputs, output: 2 * output + 1)
    network.avgpool.register_forward_hook(lambda module, inputs, output: nn.functional.normalize(output))
    layers = pair_of(network, "layer1", "avgpool", given)
    first = layers.first_pass(given)
    assert torch.allclose(layers.second_pass(first.local, given).output, network(given), atol=1e-6)
    assert torch.allclose(first.representation.norm(dim=1), torch.ones(len(given)))  # z is what the network reads


def test_weights_of_two_precisions_get_images_as_they_are_given() -> None:
    network = Odd()
    network.layer1.bfloat16()
    network.act = lambda given: given.float()
    given = images().bfloat16()
    layers = pair_of(network, "layer1", "between", given)
    assert layers.rounding == torch.bfloat16
    assert torch.equal(layers.first_pass(given).output, network(given))


class Worded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.gru, self.fc = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, lengths: Tensor, attention_mask: Tensor, tokens: Tensor) -> Tensor:
        seen, _ = self.gru(self.embed(tokens) * attention_mask[..., None])
        return self.fc(seen.sum(1) / lengths[:, None])


def test_lengths_and_masks_that_come_first_are_not_the_words() -> None:
    tokens = torch.randint(0, 20, (4, 9))
    given = {"lengths": torch.full((4,), 9), "attention_mask": torch.ones(4, 9).long(), "tokens": tokens}
    layers = milr.MILR(Worded(), example=given).layers
    assert (layers.local, layers.z, layers.grid) == ("embed", "fc.input", (1, 9))


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.of_rgb, self.of_depth = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(1, 8, 4, 4)
        self.mixed, self.avgpool, self.fc = nn.Conv2d(16, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, depth: Tensor, rgb: Tensor) -> Tensor:
        features = torch.cat([self.of_rgb(rgb), self.of_depth(depth)], 1).relu()
        return self.fc(self.avgpool(self.mixed(features).relu()).flatten(1))


def test_which_of_several_pictures_is_explained_is_told(caplog: pytest.LogCaptureFixture) -> None:
    given = {"depth": torch.rand(2, 1, 32, 32), "rgb": torch.rand(2, 3, 32, 32)}
    assert milr.MILR(Pictures(), example=given).layers.local == "of_depth"
    assert "several pictures, depth, rgb: the places of 'depth' are explained" in caplog.text
    caplog.clear()
    assert milr.MILR(Pictures(), example=tuple(given.values())).layers.local == "of_depth"
    assert "several pictures, 0, 1: the places of '0' are explained; give a dict" in caplog.text
    caplog.clear()
    turned = {name: given[name] for name in ("rgb", "depth")}
    assert milr.MILR(Pictures(), example=turned).layers.local == "of_rgb"
    assert "the places of 'rgb' are explained" in caplog.text
