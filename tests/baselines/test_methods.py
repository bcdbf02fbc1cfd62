"""The maps that MI-LR is compared with are what their papers say."""

import copy

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from toy import COLOURS, SQUARE, pictures, prepared, trained_network

from milr.baselines import iba
from milr.baselines.attribution import Untouched, grad_cam, integrated_gradients, occlusion
from milr.baselines.choice import available
from milr.baselines.controls import activation_norm, centred_gaussian, image_gradient
from milr.baselines.iba import feature_statistics, mean_capacity, per_sample_bottleneck
from milr.baselines.methods import BASELINES, CONTROLS, KINDS, METHODS, Method, Methods, Scene
from milr.decisions.batches import episode_decision
from milr.errors import MilrError
from milr.evaluation.location import rank_accuracy
from milr.explanation.fitting import Batch
from milr.networks.passes import SecondPass
from milr.networks.settings import MetricSettings
from milr.stages.check import check_baselines

SHAPE = (16, 16)


def labelled(count: int, seed: int) -> tuple[Batch, torch.Tensor]:
    images, labels, masks = pictures(count, seed)
    return Batch(images, lambda output: (output, labels)), torch.nn.functional.avg_pool2d(masks[:, None], 2)[:, 0] > 0.5


@pytest.mark.slow
def test_every_method_gives_a_map_of_every_image() -> None:
    explainer = prepared()
    batch, _ = labelled(4, seed=13)
    statistics = feature_statistics(explainer.layers, [pictures(64, 0)[0]])
    before = batch.images.clone()
    baselines = [name for name in BASELINES if name != "attention_rollout"]  # the toy has no attention
    maps = Methods(explainer, baselines, statistics).maps(batch, seed=0)
    assert set(maps) == {*KINDS, *CONTROLS, *baselines}
    assert all(heat.shape == (4, *SHAPE) and torch.isfinite(heat).all() for heat in maps.values())
    assert torch.equal(batch.images, before)
    assert [METHODS[name].family for name in ("total", "edges", "iba")] == ["milr", "control", "baseline"]


def test_a_new_baseline_is_a_function_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def brightness(scene: Scene) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(scene.batch.images.mean(1), scene.shape[1:])

    monkeypatch.setitem(METHODS, "brightness", Method("brightness", "baseline", brightness))
    batch, _ = labelled(4, seed=13)
    maps = Methods(prepared(), ["brightness"]).maps(batch, seed=0)
    assert list(maps) == [*KINDS, *CONTROLS, "brightness"]
    assert torch.allclose(maps["brightness"], torch.nn.functional.avg_pool2d(batch.images.mean(1), 2))


def test_a_map_that_is_not_finite_is_named_with_its_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(explainer: object, batch: object, local: torch.Tensor) -> torch.Tensor:
        return local.mean(1) * float("nan")

    monkeypatch.setattr("milr.baselines.methods.grad_cam", broken)
    with pytest.raises(MilrError, match="nan or inf in episode 7: grad_cam; leave"):
        Methods(prepared()).maps(labelled(4, seed=13)[0], seed=7)


def test_what_is_asked_for_must_be_there() -> None:
    with pytest.raises(MilrError, match=r"evaluate.baselines=\['lime'\]: choose among grad_cam, saliency, "):
        available(["grad_cam", "lime"])
    with pytest.raises(ValueError, match="statistics"):
        Methods(prepared(), ["iba"])


def test_the_check_names_baselines_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_baselines(["grad_cam", "lrp"]) == "grad_cam, lrp"
    monkeypatch.setattr("milr.baselines.choice.find_spec", lambda name: None)
    assert check_baselines(["grad_cam", "lrp"]) == "grad_cam; without lrp, since zennit is not installed"
    with pytest.raises(MilrError, match="choose among"):
        check_baselines(["lime"])


def test_grad_cam_is_its_formula() -> None:
    network, explainer = trained_network(), prepared()
    batch, _ = labelled(6, seed=13)
    local = network.layer1(batch.images).detach().requires_grad_()
    logits = network.fc(network.avgpool(network.layer2(local)).flatten(1))
    logits.max(1).values.sum().backward()
    assert local.grad is not None
    expected = (local.grad.mean((2, 3), keepdim=True) * local).sum(1).relu()
    assert torch.allclose(grad_cam(explainer, batch, local.detach()), expected, atol=1e-5)


def test_the_baselines_find_the_known_cause() -> None:
    explainer = prepared()
    batch, masks = labelled(16, seed=14)
    statistics = feature_statistics(explainer.layers, [pictures(256, 0)[0]])
    local = explainer.layers.first_pass(batch.images).local
    found = {
        "integrated gradients": integrated_gradients(trained_network(), batch, SHAPE),
        "occlusion": occlusion(trained_network(), batch, SHAPE),
        "refined": METHODS["refined"].make(Scene(explainer, batch, local, explainer.maps(batch.images), 0, None)),
        "iba": per_sample_bottleneck(explainer.layers, batch, statistics, torch.Generator().manual_seed(0)),
    }
    chance = (SQUARE / 32) ** 2
    for name, heat in found.items():
        rank = sum(rank_accuracy(h, m) for h, m in zip(heat, masks, strict=True)) / 16
        assert rank > 4 * chance, (name, rank)


def test_images_are_explained_one_at_a_time() -> None:
    """A query's map does not change with the other queries, only with the supports that it is compared to."""
    images, labels, _ = pictures(64, seed=15)
    chosen = torch.cat([(labels == c).nonzero()[:3, 0] for c in range(4)]).view(4, 3)
    order = torch.cat([chosen[:, 0], chosen[:, 1:].flatten()])
    network = trained_network()
    wide = Batch(images[order], episode_decision(4, 1, 2, MetricSettings(), None))
    narrow = Batch(images[torch.cat([chosen[:, 0], chosen[:, 1]])], episode_decision(4, 1, 1, MetricSettings(), None))
    many, few = occlusion(network, wide, SHAPE), occlusion(network, narrow, SHAPE)
    assert torch.allclose(many[4::2], few[4:], rtol=1e-3, atol=1e-4)  # the first query of each class


def test_a_support_answers_for_all_queries_and_a_query_for_itself() -> None:
    decide = episode_decision(2, 1, 1, MetricSettings(), None)
    output = torch.tensor([[0.0, 0], [4, 0], [1, 0], [3, 0]])
    decided = Untouched.of(output, Batch(output, decide).decided)
    assert decided.predicted.tolist() == [0, 1]
    moved = torch.tensor([[1.0, 0], [0, 0]])  # a support to its query; a query to its support
    score = decided.score(moved, torch.tensor([0, 2]))
    assert score.tolist() == pytest.approx([0 - 1, 0 - 1])  # the own distance is 0 now, the other one's is 1 still
    losses = decided.loss(output[[0, 2]], torch.tensor([0, 2]))
    own = torch.nn.functional.cross_entropy(decide(output)[0], decided.predicted, reduction="none")
    assert losses.tolist() == pytest.approx([own.mean().item(), own[0].item()])


def test_changes_are_decided_at_once_and_one_by_one_where_a_decision_looks_at_values() -> None:
    decide, calls = episode_decision(3, 2, 2, MetricSettings("cosine", 0.1), None), list[float]()
    output = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))

    def looking(given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(float(given.sum()))
        return decide(given)

    changed, rows = torch.randn(30, 5, generator=torch.Generator().manual_seed(1)), torch.arange(30) % 12
    together, single = (Untouched.of(output, Batch(output, how).decided) for how in (decide, looking))
    logits = together.logits(changed, rows)
    assert logits.shape == (30, 6, 3) and torch.allclose(logits, single.logits(changed, rows), atol=1e-5)
    assert len(calls) == 31  # the untouched decision, and each change's

    def counted(given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(0.0)
        return decide(given)

    Untouched(output, Batch(output, counted).decided, together.predicted).logits(changed, rows)
    assert len(calls) == 32


def test_a_closed_mask_has_no_capacity() -> None:
    assert mean_capacity(torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4)).abs().max() < 1e-6


def test_statistics_are_of_every_single_feature() -> None:
    explainer = prepared()
    images = pictures(40, seed=16)[0]
    local = explainer.layers.first_pass(images).local
    found = feature_statistics(explainer.layers, images.split(16))
    assert torch.allclose(found.mean, local.mean(0), atol=1e-5)
    spread = local.double().std(0, correction=0)
    usual = torch.quantile(spread[spread > 0], 0.75).item()
    assert torch.allclose(found.std, spread.clamp(min=0.1 * usual).float(), rtol=1e-3)
    with pytest.raises(ValueError, match="at least 2"):
        feature_statistics(explainer.layers, [images[:1]])


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e4])
def test_ibas_map_of_a_scaled_layer_is_the_same(scale: float) -> None:
    network = copy.deepcopy(trained_network())
    with torch.no_grad():
        for parameter in network.layer1[1].parameters():
            parameter *= scale
        network.layer2[0].weight /= scale
    explainer, plain = prepared(network=network), prepared()
    images = pictures(64, 0)[0]
    maps = []
    for own in (explainer, plain):
        statistics = feature_statistics(own.layers, [images])
        batch = Batch(2 * pictures(4, seed=7)[0], lambda output: (output, torch.zeros(4).long()))
        maps.append(per_sample_bottleneck(own.layers, batch, statistics, torch.Generator().manual_seed(0)))
    assert torch.allclose(maps[0], maps[1], rtol=0.02, atol=0.05)


def test_ibas_open_mask_counts_what_it_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iba, "STEPS", 0)
    monkeypatch.setattr(iba, "START", 12.0)
    explainer = prepared()
    statistics = feature_statistics(explainer.layers, [pictures(64, 0)[0]])
    batch, _ = labelled(3, seed=13)
    found = per_sample_bottleneck(explainer.layers, batch, statistics, torch.Generator().manual_seed(0))
    a = torch.sigmoid(torch.tensor(12.0)).double()  # 1 - a is 6e-6: 11.5 nats a channel, not 6.4
    u = ((explainer.layers.first_pass(batch.images).local - statistics.mean) / statistics.std).double()
    expected = kl_divergence(Normal(a * u, 1 - a), Normal(torch.zeros(()).double(), torch.ones(()).double())).sum(1)
    assert torch.allclose(found.double(), expected, rtol=1e-2)


def test_ibas_draws_in_several_passes_give_the_map_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = prepared()
    statistics = feature_statistics(explainer.layers, [pictures(64, 0)[0]])
    batch, _ = labelled(3, seed=13)
    sizes: list[int] = []
    second_pass = explainer.layers.second_pass

    def counted(local: torch.Tensor, images: torch.Tensor) -> SecondPass:
        sizes.append(len(local))
        return second_pass(local, images)

    monkeypatch.setattr(explainer.layers, "second_pass", counted)
    maps = []
    for limit in (1000, 3 * 4, 1):  # all ten draws; four, four and two; each on its own
        monkeypatch.setattr(iba, "at_once", lambda images, limit=limit: limit)
        maps.append(per_sample_bottleneck(explainer.layers, batch, statistics, torch.Generator().manual_seed(0)))
    assert [sizes.count(size) for size in (30, 12, 6, 3)] == [10, 20, 10, 100]
    for apart in maps[1:]:
        assert torch.allclose(apart, maps[0], rtol=1e-3, atol=1e-3 * maps[0].max().item())


def test_controls() -> None:
    gaussian = centred_gaussian(9, 7)
    assert gaussian.argmax() == 4 * 7 + 3 and torch.equal(gaussian, gaussian.flip(0, 1))
    assert torch.allclose(activation_norm(torch.ones(1, 4, 2, 2)), torch.tensor(2.0))
    image = torch.zeros(1, 3, 32, 32)
    image[..., 16:] = 1
    edges = image_gradient(image, (8, 8))[0]
    assert edges[:, 3:5].min() > 0 and edges[:, :3].max() == 0 and edges[:, 5:].max() == 0
    assert COLOURS.shape == (4, 3)
