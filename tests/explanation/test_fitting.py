"""The fit: what it finds on images with a known cause, what alpha and beta do, what it leaves untouched."""

import copy
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torchvision.models import DenseNet
from toy import CLASSES, SHORT, Network, batch, fitted, pictures, prepared, trained_network

from milr.errors import MilrError
from milr.explanation.fitting import Batch, fit, validate
from milr.explanation.milr import MILR
from milr.explanation.settings import BottleneckSettings, CriticSettings, FitSettings, InfomaxSettings, MilrSettings

ALONE = replace(SHORT, pairs=False)  # so that the critic is as it was in the mask's fit


def unchanged(explainer: MILR, before: dict[str, torch.Tensor], part: str) -> bool:
    """Whether the modules' tensors whose name begins so are what they were."""
    now = explainer.modules.state_dict()
    return all(torch.equal(now[name], value) for name, value in before.items() if name.startswith(part))


def fitted_terms(
    settings: MilrSettings, steps: int = 25, rate: float = 2e-2, critic: CriticSettings = SHORT
) -> dict[str, float]:
    """Held-out terms after a short fit."""
    explainer = prepared(settings)
    fit(explainer, batch, FitSettings(critic=critic, steps=steps, learning_rate=rate))
    return validate(explainer, [batch(5000), batch(5001)])


@pytest.mark.slow
def test_decision_map_lies_on_the_cause() -> None:
    images, _, masks = pictures(32, seed=9000)
    decision = fitted().maps(images).decision
    square = torch.nn.functional.avg_pool2d(masks[:, None], 2)[:, 0] >= 0.5
    inside = torch.stack([d[m].mean() for d, m in zip(decision, square, strict=True)])
    outside = torch.stack([d[~m].mean() for d, m in zip(decision, square, strict=True)])
    assert (inside > 3 * outside).float().mean() > 0.9
    hits = [bool(m.flatten()[d.argmax()]) for d, m in zip(decision, square, strict=True)]
    assert sum(hits) >= 28


def test_network_comes_out_bit_identical() -> None:
    network = copy.deepcopy(trained_network()).train()
    images = pictures(8, seed=3)[0]
    before = copy.deepcopy(network.state_dict())
    logits = copy.deepcopy(network).eval()(images)
    explainer = prepared(network=network)
    fit(explainer, batch, FitSettings(critic=SHORT, steps=3))
    explainer.maps(images)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(network.eval()(images), logits)
    assert not any(module._forward_hooks for module in network.modules())


def test_network_comes_out_without_hooks_after_an_error_in_the_fit() -> None:
    network = copy.deepcopy(trained_network())
    explainer = prepared(network=network)

    def broken(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(explainer, lambda step: Batch(pictures(4, step)[0], broken), FitSettings(critic=SHORT, steps=3))
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.slow
def test_beta_lowers_the_mask_and_the_bits_that_pass() -> None:
    low, high = (fitted_terms(MilrSettings(beta=beta)) for beta in (0.016, 16.0))
    assert high["mask_mean"] < low["mask_mean"] - 0.1
    assert high["decision_bits"] < 0.5 * low["decision_bits"]


@pytest.mark.slow
def test_alpha_keeps_information_that_beta_would_drop() -> None:
    none, much = (fitted_terms(MilrSettings(alpha=alpha, beta=0.48)) for alpha in (0.0, 10.0))
    assert much["mask_mean"] > none["mask_mean"] + 0.02
    assert much["redundant_bits"] < none["redundant_bits"]


def test_in_the_literal_reading_alpha_changes_nothing() -> None:
    literal = InfomaxSettings(shape_mask=False)
    none, much = (fitted_terms(MilrSettings(alpha=alpha, infomax=literal), steps=5) for alpha in (0.0, 10.0))
    assert none == much


@pytest.mark.slow
def test_left_to_the_objective_alone_the_bottleneck_collapses() -> None:
    bits = {
        way: fitted_terms(MilrSettings(beta=1.6, bottleneck=BottleneckSettings(kind="variational", fit=way)), 40, 3e-2)
        for way in ("objective", "likelihood")
    }
    assert bits["objective"]["decision_bits"] < 0.01
    assert bits["likelihood"]["decision_bits"] > 0.2


@pytest.mark.slow
def test_infomax_finds_information_on_held_out_images_within_its_cap() -> None:
    critic = CriticSettings(steps=60, images=16, places=16, validate_every=20)
    terms = fitted_terms(MilrSettings(), steps=1, critic=critic)
    assert 0.1 < terms["total_bits"] < terms["cap_bits"]
    assert terms["saturation"] == pytest.approx(terms["total_bits"] / terms["cap_bits"], rel=1e-4)


def test_same_seed_same_weights() -> None:
    states = []
    for _ in range(2):
        explainer = prepared()
        fit(explainer, batch, FitSettings(critic=SHORT, steps=5))
        states.append(explainer.modules.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.slow
def test_the_state_kept_is_the_best_on_validation() -> None:
    explainer = prepared()
    seen: dict[int, float] = {}
    kept = fit(
        explainer,
        batch,
        FitSettings(critic=ALONE, steps=30, learning_rate=0.05, validate_every=5),
        [batch(5000)],
        on_validation=lambda step, metrics: seen.__setitem__(step, metrics["objective"]),
    )
    assert list(seen) == [5, 10, 15, 20, 25, 30]
    assert seen[kept] == min(seen.values())
    assert validate(explainer, [batch(5000)])["objective"] == pytest.approx(seen[kept], rel=1e-5)


def test_patience_ends_the_fit() -> None:
    seen: list[int] = []
    fit(
        prepared(),
        batch,
        FitSettings(
            critic=SHORT, steps=1000, learning_rate=1e-30, validate_every=1, patience=3, decays=1, beta_warmup=2
        ),  # too small to change a weight
        [batch(5000)],
        on_validation=lambda step, metrics: seen.append(step),
    )
    assert seen == [*range(1, 8)]  # the first is the best; beta rises until 2; then 3 in vain, and at a lower rate 3


def test_a_loss_that_is_not_finite_stops_the_fit_in_the_last_good_state() -> None:
    explainer = prepared()
    states = {}

    def spoiled(step: int) -> Batch:
        clean = batch(step)
        return clean if step < 8 else Batch(clean.images * float("nan"), clean.decide)

    def note(step: int, metrics: dict[str, float]) -> None:
        states[step] = copy.deepcopy(explainer.modules.state_dict())

    with pytest.raises(MilrError, match="loss is nan at step 8"):
        fit(
            explainer, spoiled, FitSettings(critic=SHORT, steps=20, validate_every=6), [batch(5000)], on_validation=note
        )
    after = explainer.modules.state_dict()
    assert all(torch.equal(after[name], states[6][name]) for name in after)


def test_a_loss_that_is_not_finite_near_the_end_is_found_too() -> None:
    explainer = prepared()
    before = copy.deepcopy(explainer.modules.state_dict())

    def spoiled(step: int) -> Batch:
        return Batch(batch(step).images * (float("nan") if step > 2 else 1.0), batch(step).decide)

    with pytest.raises(MilrError, match="loss is nan at step 3"):  # not a tenth step: the fourth is the last
        fit(explainer, spoiled, FitSettings(critic=SHORT, steps=4))
    assert unchanged(explainer, before, "mask.") and not unchanged(explainer, before, "critic.")  # its fit was good


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_validation_that_is_not_finite_stops_the_fit_in_the_last_good_state(bad: float) -> None:
    explainer = prepared()
    before = copy.deepcopy(explainer.modules.state_dict())
    clean = batch(5000)

    def decide(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, labels = clean.decide(output)
        return logits * bad, labels

    how = FitSettings(critic=SHORT, steps=6, validate_every=3)
    with pytest.raises(MilrError, match=r"the objective on the validation batches is (nan|inf) at step 3: lower milr"):
        fit(explainer, batch, how, [Batch(clean.images, decide)])
    assert unchanged(explainer, before, "mask.") and not unchanged(explainer, before, "critic.")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_validation_images_that_are_not_finite_are_refused_by_name_before_a_step(bad: float) -> None:
    explainer = prepared(fitted=False)
    before = copy.deepcopy(explainer.modules.state_dict())
    clean = batch(5000)
    with pytest.raises(MilrError, match="layer 'layer1' gives nan or inf for validation batch 2: look at its images'"):
        fit(explainer, batch, FitSettings(critic=SHORT, steps=6), [clean, Batch(clean.images * bad, clean.decide)])
    assert unchanged(explainer, before, "") and not explainer.fitted


def test_the_trained_network_decides_by_the_square() -> None:
    images, labels, _ = pictures(200, seed=4)
    accuracy = (trained_network()(images).argmax(1) == labels).float().mean()
    assert accuracy > 0.95
    assert (Network().eval()(images).argmax(1) == labels).float().mean() < 0.6


def same_weights(one: MILR, other: MILR) -> bool:
    states = one.modules.state_dict(), other.modules.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "autocast"])
def test_a_fit_does_not_depend_on_the_callers_mode(mode: str) -> None:
    modes = {
        "no_grad": torch.no_grad,
        "inference_mode": torch.inference_mode,
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    }
    how = FitSettings(critic=SHORT, steps=4, validate_every=2)
    expected = prepared()
    kept = fit(expected, batch, how, [batch(5000)])
    with modes[mode]():  # type: ignore[operator]
        explainer = prepared()
        assert fit(explainer, batch, how, [batch(5000)]) == kept
        terms = validate(explainer, [batch(5001)])
    assert same_weights(explainer, expected)
    assert terms == validate(expected, [batch(5001)])


@pytest.mark.parametrize("kind", ["capacity", "variational"])
def test_a_fit_under_a_default_of_float64_is_in_float32(kind: str) -> None:
    explainer, seen = prepared(MilrSettings(bottleneck=BottleneckSettings(kind=kind))), []
    images, labels, _ = pictures(16, seed=1)
    torch.set_default_dtype(torch.float64)
    try:
        fit(
            explainer,
            lambda step: Batch(images, lambda output: (output, labels)),
            FitSettings(critic=SHORT, steps=3, learning_rate=1e-2),
            on_step=lambda step, terms: seen.append((terms.loss(1, 0.01).dtype, terms.decision_loss.isfinite().item())),
        )
        maps = explainer.maps(images)
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen == 3 * [(torch.float32, True)]
    assert maps.decision.dtype == torch.float32


def test_a_fit_that_fails_before_its_first_good_state_is_no_fit() -> None:
    explainer = prepared(fitted=False)
    clean = batch(1)
    bad = Batch(clean.images * float("nan"), clean.decide)
    with pytest.raises(MilrError, match="loss of the untouched decision about the first batch is nan: look"):
        fit(explainer, lambda step: bad, FitSettings(critic=SHORT, steps=3))
    assert not explainer.fitted
    with pytest.raises(MilrError, match="loss is nan at step 2: .*if no picture of that step holds nan"):
        fit(explainer, lambda step: bad if step > 1 else clean, FitSettings(critic=SHORT, steps=3))
    assert not explainer.fitted  # back in the state before the first step


def test_fitted_is_true_from_the_first_step_on_and_after_an_interruption() -> None:
    explainer = prepared(fitted=False)

    def stop(step: int, terms: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(explainer, batch, FitSettings(critic=SHORT, steps=3), on_step=stop)
    assert explainer.fitted


class Recomputing(Network):
    """Computes its second block again in the backward pass, to save memory; notes in which mode."""

    modes: ClassVar[list[tuple[bool, bool]]] = []  # what a network itself keeps is put back

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant

    def upper(self, local: torch.Tensor) -> torch.Tensor:
        self.modes.append((self.layer2.training, self.layer2[0].weight.requires_grad))
        return self.layer2(local)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        upper = checkpoint(self.upper, self.layer1(images), use_reentrant=self.reentrant)
        return self.fc(self.avgpool(upper).flatten(1))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_network_that_computes_again_in_the_backward_pass_is_frozen_there_too(reentrant: bool) -> None:
    network = Recomputing(reentrant)
    network.load_state_dict(trained_network().state_dict())
    network.train()
    before = copy.deepcopy(network.state_dict())
    explainer, plain = prepared(network=network), prepared()
    network.modes.clear()
    fit(explainer, batch, FitSettings(critic=SHORT, steps=3))
    fit(plain, batch, FitSettings(critic=SHORT, steps=3))
    assert len(network.modes) >= 9 and set(network.modes) == {(False, False)}  # first, second, and again backwards
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and network.layer2.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert same_weights(explainer, plain)


def test_a_memory_efficient_densenet_keeps_its_running_means() -> None:
    torch.manual_seed(0)
    network = DenseNet(8, (2, 2), 16, num_classes=CLASSES, memory_efficient=True).train()
    before = copy.deepcopy(network.state_dict())
    images = pictures(16, seed=0)[0]
    explainer = MILR(network, "features.denseblock1", "features.denseblock2", images[:2])
    explainer.prepare(images.split(8), 16)
    fit(explainer, batch, FitSettings(critic=SHORT, steps=2))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
