"""The decision that users give: refused by name before a step where it is none, frozen with what it calls."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy import CLASSES, SHORT, Network, batch, pictures, prepared, trained_network

import milr
from milr.baselines.attribution import grad_cam, integrated_gradients, occlusion, saliency
from milr.baselines.iba import feature_statistics, per_sample_bottleneck
from milr.decisions.decisions import Batch
from milr.errors import MilrError
from milr.evaluation.perturbation import at_layer, at_pixels
from milr.explanation.fitting import fit, validate
from milr.explanation.settings import FitSettings

IMAGES, LABELS, _ = pictures(8, seed=7)
STEPS = FitSettings(critic=SHORT, steps=3)

WRONG: list[tuple[Any, str]] = [
    (lambda out: out.sum(), r"must give a pair .*, not a torch.Tensor \[\]"),
    (lambda out: out, r"must give a pair .*, not a torch.Tensor \[8, 4\]"),
    (lambda out: out[:2], r"must give a pair .*, not a torch.Tensor \[2, 4\]"),  # two rows can be unpacked as a pair
    (lambda out: None, "must give a pair .*, not None"),
    (lambda out: {"logits": out, "labels": LABELS}, "must give a pair .*, not a dict"),
    (lambda out: (out, LABELS, out), "must give a pair .*, not a tuple"),
    (lambda out: (out, None), r"labels of decide must be class numbers \[Q\], not None"),
    (lambda out: (None, LABELS), r"logits of decide must be floats \[Q, classes\], not None"),
    (lambda out: (out.argmax(1), LABELS), r"must be floats \[Q, classes\], not int64 a torch.Tensor \[8\]"),
    (lambda out: (out[:, 0], LABELS), r"must be floats \[Q, classes\], not float32 a torch.Tensor \[8\]"),
    (lambda out: (out[:, :1], LABELS), r"logits of 1 class.*torch.cat\(\[torch.zeros_like"),
    (lambda out: (out, LABELS.float()), r"labels of decide are float32: .*labels.long\(\)"),
    (lambda out: (out, out.softmax(1)), r"labels of decide are float32: of soft labels .*labels.argmax\(1\)"),
    (lambda out: (out, LABELS + 0.5), "labels of decide are float32: they are no class numbers; of numbers .*regress"),
    (lambda out: (out, LABELS.where(LABELS > 0, -100)), "the label -100 for 4 classes.*ignored.* leave out their"),
    (lambda out: (out, LABELS[:, None]), r"class numbers \[Q\], not a torch.Tensor \[8, 1\]"),
    (lambda out: (out, LABELS[:7]), "8 rows of logits and 7 labels"),
    (lambda out: (out[:5], LABELS), "5 rows of logits and 8 labels"),
    (lambda out: (out, LABELS + 1), "the label 4 for 4 classes: they go from 0 to 3"),
    (lambda out: (out, LABELS - 100), r"the label -\d+ for 4 classes"),
    (lambda out: (out[:0], LABELS[:0]), "no row of logits"),
    (lambda out: (out, ["wren"] * 8), r"class numbers \[Q\], not a list"),
    (lambda out: (torch.nn.functional.dropout(out), LABELS), "two results for one output"),
    (lambda out: (out.detach(), LABELS), "no gradient to the output that it gets"),
    (lambda out: (torch.from_numpy(out.detach().numpy()), LABELS), "no gradient to the output that it gets"),
]


@pytest.mark.parametrize(("decide", "message"), WRONG)
def test_what_is_no_decision_is_refused_by_name_before_a_step(decide: Any, message: str) -> None:
    explainer = prepared(fitted=False)
    before = copy.deepcopy(explainer.modules.state_dict())
    with pytest.raises(MilrError, match=message):
        fit(explainer, lambda step: Batch(IMAGES, decide), STEPS, on_step=lambda step, terms: pytest.fail("a step"))
    assert all(torch.equal(value, before[name]) for name, value in explainer.modules.state_dict().items())
    assert not explainer.fitted


@pytest.mark.parametrize(("decide", "message"), WRONG[:-2])  # no gradient is asked of a validation
def test_a_validation_batch_is_looked_at_before_the_first_step(decide: Any, message: str) -> None:
    good = batch(5000)
    with pytest.raises(MilrError, match=message):
        fit(
            prepared(),
            batch,
            STEPS,
            [good, Batch(IMAGES, decide)],
            on_step=lambda step, terms: pytest.fail("a step was made"),
        )


@pytest.mark.parametrize(
    "labels",
    [LABELS.int(), LABELS.to(torch.uint8), LABELS.tolist(), LABELS.numpy(), LABELS.numpy().astype(np.int32)],
    ids=["int32", "uint8", "list", "numpy", "numpy32"],
)
def test_labels_in_any_usual_form_give_the_same_terms(labels: Any) -> None:
    explainer = prepared()
    expected = validate(explainer, [Batch(IMAGES, lambda out: (out, LABELS))])
    assert validate(explainer, [Batch(IMAGES, lambda out: (out, labels))]) == expected


def test_a_decision_may_change_its_output_in_place() -> None:
    explainer = prepared()
    expected = validate(explainer, [Batch(IMAGES, lambda out: (out * 2, LABELS))])
    assert validate(explainer, [Batch(IMAGES, lambda out: (out.mul_(2), LABELS))]) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.utils.data.DataLoader(IMAGES), STEPS), "batches is a function of the step .*, not a torch.*DataLoader"),
        (([batch(1)], STEPS), "batches is a function of the step .*, not a list"),
        ((lambda step: (IMAGES, LABELS), STEPS), r"batches\(1\) must be a milr.Batch\(images, decide\), not a tuple"),
        ((lambda step: None, STEPS), r"batches\(1\) must be a milr.Batch\(images, decide\), not None"),
        ((lambda step: Batch(IMAGES[..., :9], batch(1).decide), STEPS), r"the images of batches\(1\) must have"),
        ((batch, 400), "settings are milr.FitSettings, not 400"),
        ((batch, STEPS, batch(1)), "validation is a list of milr.Batch, not a milr.Batch"),
        ((batch, STEPS, [(IMAGES, LABELS)]), "validation batch 1 must be a milr.Batch"),
        ((batch, FitSettings(critic=SHORT, steps=3, validate_every=0), [batch(1)]), "validate_every=0"),
        ((batch, FitSettings(critic=SHORT, steps=0)), "steps=0: .*at least 1"),
        ((batch, FitSettings(critic=SHORT, steps=2.0)), "steps=2.0: .*a whole number"),  # type: ignore[arg-type]
        ((batch, FitSettings(critic=SHORT, learning_rate=-0.1)), "learning_rate=-0.1"),
        ((batch, FitSettings(critic=SHORT, learning_rate=0.0)), "learning_rate=0.0: nothing would be fitted"),
    ],
)
def test_arguments_of_a_fit_that_are_none_are_refused_by_name(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(MilrError, match=message):
        fit(prepared(), *arguments)


def test_a_decision_that_is_no_function_is_refused_by_name() -> None:
    with pytest.raises(MilrError, match=r"decide is a function of the network's output, not a torch.Tensor \[8\]"):
        Batch(IMAGES, LABELS)  # type: ignore[arg-type]
    with pytest.raises(MilrError, match="modules are torch modules, not 'head'"):
        Batch(IMAGES, lambda out: (out, LABELS), ["head"])  # type: ignore[list-item]


def head_batch(head: nn.Module, modules: Any) -> Batch:
    return Batch(IMAGES, lambda out: (head(out), LABELS), modules)


def a_head() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(CLASSES, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, CLASSES)).train()


def untouched(head: nn.Module, before: dict[str, Tensor]) -> bool:
    return (
        all(module.training for module in head.modules())
        and all(parameter.requires_grad and parameter.grad is None for parameter in head.parameters())
        and all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    )


def test_the_decisions_own_modules_are_frozen_in_a_fit_and_put_back() -> None:
    explainer, head = prepared(), a_head()
    before = copy.deepcopy(head.state_dict())
    still = copy.deepcopy(head).eval().requires_grad_(False)
    seen: list[float] = []
    fit(
        explainer,
        lambda step: head_batch(head, [head]),
        STEPS,
        [head_batch(head, head)],
        on_step=lambda step, terms: seen.append(terms.decision_loss.item()),
    )
    assert untouched(head, before)
    other, wanted = prepared(), []
    fit(
        other,
        lambda step: head_batch(still, ()),
        STEPS,
        [head_batch(still, ())],
        on_step=lambda step, terms: wanted.append(terms.decision_loss.item()),
    )
    assert seen == wanted


def test_they_are_put_back_after_an_error_too() -> None:
    head = a_head()
    before = copy.deepcopy(head.state_dict())
    with pytest.raises(MilrError, match="7 labels"):
        fit(prepared(), lambda step: Batch(IMAGES, lambda out: (head(out), LABELS[:7]), [head]), STEPS)
    assert untouched(head, before)


def test_modules_that_are_not_named_are_asked_for() -> None:
    head = nn.Linear(CLASSES, CLASSES)
    with pytest.raises(MilrError, match=r"parameters of its own that ask for gradients: .*modules=\(head,\)"):
        fit(prepared(), lambda step: head_batch(head, ()), STEPS)
    assert head.weight.grad is None
    off = nn.Sequential(nn.Dropout(0.5)).train()
    with pytest.raises(MilrError, match=r"two results for one output: .*modules=\(head,\)"):
        fit(prepared(), lambda step: head_batch(off, ()), STEPS)


@pytest.mark.slow
def test_the_decisions_own_modules_are_frozen_in_every_evaluation() -> None:
    explainer, head = prepared(), a_head()
    before = copy.deepcopy(head.state_dict())
    given = head_batch(head, [head])
    still = head_batch(copy.deepcopy(head).eval().requires_grad_(False), ())
    network = explainer.layers.network
    first = explainer.layers.first_pass(IMAGES)
    statistics = feature_statistics(explainer.layers, [IMAGES])
    everywhere = torch.ones(1, 8, 16, 16, dtype=torch.bool)
    for method in (
        lambda b: grad_cam(explainer, b, first.local),
        lambda b: integrated_gradients(network, b, (16, 16)),
        lambda b: occlusion(network, b, (16, 16)),
        lambda b: per_sample_bottleneck(explainer.layers, b, statistics, torch.Generator().manual_seed(0)),
        lambda b: at_layer(explainer.layers, b, explainer.modules.local, "noise", 0)(everywhere)["loss"],
        lambda b: at_pixels(explainer.layers, b, "noise", 0)(everywhere.repeat(1, 1, 2, 2))["loss"],
    ):
        assert torch.equal(method(given), method(still))
        assert untouched(head, before)


class Closed(Network):
    """Without gradients above its local layer: under `no_grad`, as a backbone that is not trained, or detached."""

    def __init__(self, detached: bool) -> None:
        super().__init__()
        self.detached = detached

    def forward(self, images: Tensor) -> Tensor:
        local = self.layer1(images)
        with nullcontext() if self.detached else torch.no_grad():
            return self.fc(self.avgpool(self.layer2(local.detach() if self.detached else local)).flatten(1))


def test_a_network_without_gradient_above_its_local_layer_is_said_to_be_one() -> None:
    with pytest.raises(MilrError, match="no gradient to the layer 'layer1': .*detach"):
        fit(prepared(network=Closed(detached=True).eval()), batch, STEPS)


def test_a_backbone_under_no_grad_is_explained_as_any_other() -> None:
    network = Closed(detached=False).eval()
    plain = Network().eval()
    plain.load_state_dict(network.state_dict())
    closed, other = prepared(network=network), prepared(network=plain)
    for explainer in (closed, other):
        fit(explainer, batch, STEPS)
    torch.testing.assert_close(closed.maps(IMAGES, refine=2).decision, other.maps(IMAGES, refine=2).decision)
    given = Batch(IMAGES, lambda out: (out, LABELS))
    for method in (saliency, integrated_gradients):
        torch.testing.assert_close(method(network, given, (16, 16)), method(plain, given, (16, 16)))
    assert not network(IMAGES).requires_grad


def test_a_batch_of_one_image_is_told_from_those_of_the_bank() -> None:
    terms: list[dict[str, float]] = []

    def single(step: int) -> Batch:
        images, labels, _ = pictures(1, seed=step)
        return Batch(images, lambda out: (out, labels))

    fit(prepared(), single, STEPS, [single(9)], on_step=lambda step, found: terms.append(found.metrics()))
    assert [row["cap_bits"] for row in terms] == 3 * [pytest.approx(math.log2(1 + 64))]  # the 64 images of `prepare`
    assert all(0 <= abs(row["saturation"]) < 1 for row in terms)


def test_small_modules_that_are_frozen_cannot_be_fitted() -> None:
    explainer = prepared()
    explainer.modules.requires_grad_(False)
    with pytest.raises(MilrError, match="no parameter of the mask asks for gradients"):
        fit(explainer, batch, STEPS)


def test_logits_of_minus_infinity_for_a_class_that_is_out_of_the_question_are_a_decision() -> None:
    def decide(output: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([output, torch.full_like(output[:, :1], -torch.inf)], 1), LABELS

    explainer = prepared()
    expected = validate(explainer, [Batch(IMAGES, lambda output: (output, LABELS))])
    assert validate(explainer, [Batch(IMAGES, decide)]) == pytest.approx(expected)
    assert fit(explainer, lambda step: Batch(IMAGES, decide), STEPS) == 3


def test_validation_needs_batches() -> None:
    with pytest.raises(MilrError, match="validate got no batches"):
        validate(prepared(), [])


def test_validation_batches_may_come_from_a_generator() -> None:
    seen: list[int] = []
    kept = fit(
        prepared(),
        batch,
        FitSettings(critic=SHORT, steps=4, validate_every=2),
        (batch(number) for number in (5000, 5001)),  # type: ignore[arg-type]
        on_validation=lambda step, metrics: seen.append(step),
    )
    assert seen == [2, 4] and kept in seen
    assert milr.Batch is Batch and trained_network().training is False


def test_a_head_that_counts_statistics_is_asked_for_before_it_does() -> None:
    head = torch.nn.BatchNorm1d(CLASSES, affine=False)  # no parameter asks for gradients, nothing is random
    with pytest.raises(MilrError, match=r"decide calls a BatchNorm1d in training mode.*modules=\(head,\)"):
        fit(prepared(), lambda step: Batch(IMAGES, lambda output: (head(output), LABELS)), STEPS)
    assert head.num_batches_tracked == 0

    fit(prepared(), lambda step: Batch(IMAGES, lambda output: (head(output), LABELS), (head,)), STEPS)
    assert head.num_batches_tracked == 0 and head.training
