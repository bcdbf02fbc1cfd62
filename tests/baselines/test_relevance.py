"""The methods that go back by rules are what their papers and their libraries say, and leave the network alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import cache

import pytest
import resnets
import torch
from captum.attr import GuidedBackprop, GuidedGradCam, Saliency
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu
from toy import SQUARE, pictures, prepared, trained_network
from zennit.composites import EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer

from milr.baselines.attribution import saliency, score_gradient
from milr.baselines.choice import possible
from milr.baselines.methods import refusal
from milr.baselines.relevance import deep_taylor, gap_relevance, guided_backpropagation, guided_grad_cam, lrp
from milr.decisions.batches import episode_decision
from milr.errors import MilrError
from milr.evaluation.location import rank_accuracy
from milr.evaluation.similarity import rank_correlation
from milr.explanation.fitting import Batch
from milr.networks.freezing import weights_sha256
from milr.networks.randomise import blocks, randomised
from milr.networks.settings import MetricSettings

SHAPE = (16, 16)
Method = Callable[[nn.Module, Batch, tuple[int, int]], Tensor]


def guided(network: nn.Module, batch: Batch, shape: tuple[int, int]) -> Tensor:
    return guided_backpropagation(network, batch)


RULED = (lrp, deep_taylor, guided)


def labelled(count: int = 4, seed: int = 13) -> Batch:
    images, labels, _ = pictures(count, seed)
    return Batch(images, lambda output: (output, labels))


def episode(distance: str = "cosine", query: int = 1) -> Batch:
    """Two classes of one support each."""
    decide = episode_decision(2, 1, query, MetricSettings(distance=distance, temperature=0.1), None)
    return Batch(resnets.images(2 + 2 * query), decide)


@cache
def resnet() -> nn.Module:
    """A ResNet-18 whose batch normalisations have seen something, with all kinds of biases."""
    network = resnets.network().train()
    with torch.no_grad():
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            network(torch.randn(8, 3, 48, 48, generator=generator))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.normal_(0, 0.1, generator=generator)
    return network.eval()


class Small(nn.Module):
    """A convolution, a step of a test's own, and pooling."""

    def __init__(self, step: Callable[[Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.step, self.layers = step, nn.Sequential(*layers)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.step(self.layers(self.first(images)))).relu().mean((2, 3))


class TwoReaders(nn.Module):
    """A convolution that is read both with its batch normalisation and without."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        nn.init.constant_(self.norm.weight, 3)

    def forward(self, features: Tensor) -> Tensor:
        features = self.convolution(features)
        return features + self.norm(features)


def test_saliency_is_the_gradient() -> None:
    network, batch = trained_network(), labelled()
    images = batch.images.clone().requires_grad_()
    logits = network(images)
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), images)
    found = saliency(network, batch, SHAPE)
    assert torch.allclose(found, avg_pool2d(gradient.abs().amax(1), 2), atol=1e-6)
    captums = Saliency(network).attribute(batch.images.clone().requires_grad_(), target=logits.argmax(1))
    assert torch.allclose(found, avg_pool2d(captums.amax(1), 2), atol=1e-6)


def test_guided_grad_cam_is_captums() -> None:
    network, batch, explainer = copy.deepcopy(trained_network()), labelled(), prepared()
    target = network(batch.images).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum tells of its hooks
        expected = GuidedBackprop(network).attribute(batch.images, target=target)
        product = GuidedGradCam(network, network.layer1).attribute(
            batch.images, target=target, interpolate_mode="bilinear"
        )
    assert torch.allclose(guided_backpropagation(trained_network(), batch), expected, atol=1e-6)
    local = network.layer1(batch.images).detach()
    found = guided_grad_cam(explainer, batch, local)
    assert torch.allclose(found, avg_pool2d(product.sum(1).abs(), 2), atol=1e-6) and found.max() > 0


def test_guided_backpropagation_takes_relus_in_place_that_run_twice() -> None:
    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, features: Tensor) -> Tensor:
            ctx.save_for_backward(features)
            return features.clamp(min=0)

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
            (features,) = ctx.saved_tensors  # type: ignore[attr-defined]
            return gradient.clamp(min=0) * (features > 0)

    class GuidedReLU(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return Guided.apply(features)

    batch, by_hand = episode(), copy.deepcopy(resnet())
    for module in list(by_hand.modules()):
        if hasattr(module, "relu"):
            module.relu = GuidedReLU()
    images = batch.images.clone().requires_grad_()
    output = by_hand(images)
    (expected,) = torch.autograd.grad(output, images, score_gradient(output, batch.decided))
    assert torch.allclose(guided_backpropagation(resnet(), batch), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_lrp_is_zennits_own_composite_with_its_canonizer(distance: str) -> None:
    network, batch = copy.deepcopy(resnet()).requires_grad_(False), episode(distance)
    start = gap_relevance(network(batch.images), batch.decided)
    images = batch.images.clone().requires_grad_()
    with EpsilonPlusFlat(canonizers=[ResNetCanonizer()]).context(network) as changed:
        (expected,) = torch.autograd.grad(changed(images), images, start)
    found = lrp(resnet(), batch, (48, 48))
    assert torch.allclose(found, expected.sum(1), rtol=1e-3, atol=1e-4 * found.abs().max().item())


def test_relevance_starts_as_the_gap_shared_out() -> None:
    torch.manual_seed(0)
    output = torch.rand(4, 10)  # two supports, two queries
    for distance in ("cosine", "euclidean"):
        decide = episode_decision(2, 1, 1, MetricSettings(distance=distance, temperature=0.5), None)
        logits, _ = decide(output)
        gaps = logits.max(1).values - logits.min(1).values
        found = gap_relevance(output, Batch(output, decide).decided)
        assert torch.allclose(found.sum(1), torch.cat([gaps.sum().expand(2), gaps]), atol=1e-4)
        if distance == "cosine":  # a product of directions, whose addends are the relevance
            unit = output / output.norm(dim=1, keepdim=True)
            near, far = logits[0].argmax(), logits[0].argmin()
            assert torch.allclose(found[2], unit[2] * (unit[near] - unit[far]) / 0.5, atol=1e-5)


@pytest.mark.parametrize("method", [lrp, deep_taylor])
def test_relevance_is_kept_where_no_bias_takes_any(method: Method) -> None:
    """z+ leaves biases out of deep Taylor, so that it keeps relevance in any network."""
    network = copy.deepcopy(resnet())
    if method is lrp:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.bias)
                nn.init.zeros_(module.running_mean)
    batch = episode()
    start = gap_relevance(network(batch.images), batch.decided)
    start = start.relu() if method is deep_taylor else start
    kept = method(network, batch, (48, 48)).sum((1, 2))
    assert torch.allclose(kept, start.sum(1), rtol=0.02)


def test_deep_taylor_is_its_formula() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 5, 1)
    network = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.rand(2, 3, 6, 6)
    batch = Batch(images, lambda output: (output, torch.zeros(2).long()))
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    low, high, weight = (0 - mean) / std, (1 - mean) / std, convolution.weight.detach()[:, :, 0, 0]
    features = convolution(images).relu().detach()
    start = gap_relevance(features.mean((2, 3)), batch.decided).relu()
    above = start[:, :, None, None] * features / features.sum((2, 3), keepdim=True).clamp(min=1e-6)
    expected = torch.zeros(2, 6, 6)
    for channel in range(5):
        w = weight[channel][:, None, None]
        addends = images * w - low * w.clamp(min=0) - high * w.clamp(max=0)  # [2, 3, 6, 6], each of them positive
        expected += (addends / addends.sum(1, keepdim=True) * above[:, channel][:, None]).sum(1)
    found = deep_taylor(network, batch, (6, 6))
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6) and found.max() > 0


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_deep_taylor_is_never_negative(distance: str) -> None:
    found = deep_taylor(resnet(), episode(distance), (12, 12))
    assert found.min() >= 0 and (found > 0).any(2).any(1).all()


@pytest.mark.parametrize("method", RULED)
def test_a_network_is_left_as_it_was(method: Method) -> None:
    network = copy.deepcopy(resnet()).train()
    network.layer1.eval()
    network.layer2.requires_grad_(False)
    state, before = weights_sha256(network), copy.deepcopy(network)
    method(network, episode(), SHAPE)
    network.layer4.append(nn.Sigmoid())  # refused by the rules in the middle of their work
    if method is not guided:
        with pytest.raises(MilrError, match="Sigmoid"):
            method(network, episode(), SHAPE)
    del network.layer4[-1]
    assert weights_sha256(network) == state
    for module, same in zip(network.modules(), before.modules(), strict=True):
        assert module.training == same.training and module.__dict__.keys() == same.__dict__.keys()
        assert not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
    for (name, parameter), (other, old) in zip(network.named_parameters(), before.named_parameters(), strict=True):
        assert name == other and parameter.requires_grad == old.requires_grad and parameter.grad is None


@pytest.mark.parametrize("method", [saliency, lrp, deep_taylor])
def test_an_image_is_explained_beside_the_others_as_they_are(method: Method) -> None:
    wide = episode(query=2)
    narrow = Batch(wide.images[[0, 1, 2, 4]], episode().decided)
    assert torch.allclose(
        method(resnet(), wide, SHAPE)[[2, 4]], method(resnet(), narrow, SHAPE)[2:], rtol=1e-3, atol=1e-7
    )


def test_the_methods_find_the_known_cause_and_forget_it() -> None:
    images, labels, masks = pictures(16, seed=14)
    places = avg_pool2d(masks[:, None], 2)[:, 0] > 0.5
    batch, network, explainer = Batch(images, lambda output: (output, labels)), trained_network(), prepared()
    forgotten = randomised(network, blocks(network), [images], seed=0)
    maps = {
        method.__name__: (method(network, batch, SHAPE), method(forgotten, batch, SHAPE))
        for method in (saliency, lrp, deep_taylor)
    }
    other = prepared(network=forgotten)
    maps["guided_grad_cam"] = tuple(  # type: ignore[assignment]
        guided_grad_cam(e, batch, e.layers.first_pass(images).local) for e in (explainer, other)
    )
    for name, (learned, random) in maps.items():
        rank = sum(rank_accuracy(heat, mask) for heat, mask in zip(learned, places, strict=True)) / 16
        assert rank > 4 * (SQUARE / 32) ** 2, (name, rank)
        alike = rank_correlation(learned, random).mean().item()
        assert alike < 0.9, (name, alike)


def test_sums_and_means_have_one_rule_however_they_are_written() -> None:
    def plus(features: Tensor) -> Tensor:
        return features + features.relu()

    def in_place(features: Tensor) -> Tensor:
        features += features.relu()
        return features

    def called(features: Tensor) -> Tensor:
        return torch.add(features, features.relu())

    maps = []
    for step in (plus, in_place, called):
        torch.manual_seed(0)
        maps.append(lrp(Small(step), labelled(), SHAPE))
    assert torch.equal(maps[0], maps[1]) and torch.equal(maps[0], maps[2]) and maps[0].abs().max() > 0


REFUSED = [
    (lrp, lambda: Small(lambda features: features * features.relu()), "LRP has no rule for 'mul' where it is no layer"),
    (lrp, lambda: Small(torch.sigmoid), "'sigmoid' where it is no layer of the network: leave 'lrp' out"),
    (lrp, lambda: Small(relu, nn.GroupNorm(2, 8)), "'layers.0', a GroupNorm"),
    (lrp, lambda: Small(relu, nn.ReLU(), nn.BatchNorm2d(8)), "'layers.1', a batch normalisation that follows no conv"),
    (lrp, lambda: Small(relu, *[nn.Conv2d(8, 8, 1)] * 2), "'layers.0', a Conv2d that runs 2 times"),
    (lrp, lambda: Small(relu, type("Other", (nn.Conv2d,), {})(8, 8, 1)), "'layers.0', a Other"),
    (lrp, lambda: Small(relu, nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))), "a _WeightNorm"),
    (lrp, lambda: torch.jit.trace(Small(relu), torch.rand(1, 3, 8, 8)), "TorchScript"),
    (deep_taylor, lambda: Small(relu, nn.LeakyReLU(0.1)), "'layers.0', a LeakyReLU: leave 'deep_taylor' out"),
    (lrp, lambda: Small(relu, TwoReaders()), "whose copy computes something else"),
    (guided, lambda: Small(relu, nn.ReLU()), "guided backpropagation has no rule for 'relu' where"),
    (guided, lambda: Small(lambda features: features, nn.GELU()), "'layers.0', a GELU: leave 'guided_grad_cam'"),
    (guided, lambda: Small(lambda features: features), "layers of ReLU"),
]


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(("method", "make", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_a_step_without_a_rule_is_refused(method: Method, make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(MilrError, match=message):
        method(make().eval(), labelled(), SHAPE)


def test_a_network_is_looked_at_before_the_first_episode(caplog: pytest.LogCaptureFixture) -> None:
    leaky = copy.deepcopy(trained_network())
    leaky.layer2[2] = nn.LeakyReLU(0.1)  # type: ignore[assignment]
    explainer = prepared(network=leaky)
    found = {name: refusal(name, explainer) for name in ("grad_cam", "lrp", "deep_taylor", "guided_grad_cam")}
    assert found["grad_cam"] is None and found["lrp"] is None
    assert "'layer2.2', a LeakyReLU" in str(found["deep_taylor"]) and "LeakyReLU" in str(found["guided_grad_cam"])
    assert possible(["grad_cam", "lrp", "deep_taylor"], explainer) == ["grad_cam", "lrp"]
    assert "skipped, deep_taylor: deep Taylor decomposition has no rule for 'layer2.2'" in caplog.text
