"""Episodic training: it learns, repeats itself, keeps the best, and stops at a loss that is not finite."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from states import states_equal
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from milr.backbones.backbones import build_backbone
from milr.backbones.protonet import represent
from milr.data.augmentation import Augmentation
from milr.data.episodes import draw_episodes
from milr.data.pictures import Pictures
from milr.data.records import Record
from milr.errors import MilrError
from milr.evaluation.accuracy import episode_accuracies
from milr.networks.prototypes import logits, prototypes
from milr.networks.settings import MetricSettings
from milr.training import winograd
from milr.training.continuation import Continuation, State
from milr.training.episodes import EpisodicTask, episode_loss, forward_pass
from milr.training.optimisers import freeze, rate
from milr.training.settings import Training
from milr.training.training import Step, train_prototypical
from milr.training.winograd import convolve

TRAINING = Training(episodes=20, way=4, shot=1, query=3, learning_rate=1e-2, validate_every=5)


class Network(nn.Module):
    """Two small blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.layer2 = nn.Conv2d(8, 8, 3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer2(self.layer1(images)).mean((2, 3))


def network() -> Network:
    torch.manual_seed(0)
    return Network()


def pictures() -> Pictures:
    """8 classes of 10 noisy pictures, told apart by the direction of a faint pattern."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(8).repeat_interleave(10)
    patterns = torch.randint(0, 60, (8, 3, 4, 4), generator=generator).repeat(1, 1, 5, 5)
    noise = torch.randint(0, 150, (80, 3, 20, 20), generator=generator)
    records = tuple(Record(i, Path(f"{i}.png"), int(label), str(int(label))) for i, label in enumerate(labels))
    return Pictures((patterns[labels] + noise).to(torch.uint8), labels, records)


def accuracy(model: nn.Module) -> float:
    data = pictures()
    episodes = draw_episodes(data.labels, 4, 1, 3, "validation", range(50))
    return float(episode_accuracies(represent(model, [data.images.float() / 255]), episodes, MetricSettings()).mean())


def task(augmentation: Augmentation | None = None) -> EpisodicTask:
    return EpisodicTask(pictures(), MetricSettings(), augmentation)


def train(model: nn.Module, training: Training = TRAINING, **options: object) -> object:
    return train_prototypical(model, task(), training, accuracy, **options)  # type: ignore[arg-type]


def test_it_learns_and_ends_as_the_best_state_it_saw() -> None:
    model = network()
    before, seen = accuracy(model), {}
    trained = train_prototypical(
        model,
        task(),
        replace(TRAINING, episodes=80),
        accuracy,
        on_validation=lambda step, found, best: seen.__setitem__(step, found),
    )
    assert trained.accuracy > before + 0.1
    assert trained.accuracy == max(seen.values()) == seen[trained.step] == accuracy(model)
    assert list(seen) == [0, *range(5, 85, 5)]


def test_interpolated_weights_lie_on_the_way_and_are_kept_where_they_validate_better() -> None:
    first = copy.deepcopy(network().state_dict())

    def distance(model: nn.Module) -> float:
        """From the first weights; an "accuracy" that is best a third of the way that ten steps go."""
        return sum(float((a - first[n]).abs().sum()) for n, a in model.state_dict().items() if a.is_floating_point())

    training = replace(TRAINING, episodes=10, validate_every=10)
    whole = train_prototypical(network(), task(), training, distance)
    assert whole.share == 1 and whole.accuracy > 0

    def third(model: nn.Module) -> float:
        return 1 - abs(distance(model) / whole.accuracy - 0.3) - (0.5 if distance(model) == 0 else 0)

    model = network()
    part = train_prototypical(model, task(), replace(training, interpolate=True), third)
    assert part.share == 0.3 and distance(model) == pytest.approx(0.3 * whole.accuracy, rel=1e-4)


def test_same_seed_same_weights_whatever_torchs_own_state_is() -> None:
    def last_weights(own: int, training: Training) -> dict[str, Tensor]:
        """After the last step, whichever state is kept."""
        model, states = network(), []
        torch.manual_seed(own)

        def note(step: Step) -> None:
            states.append({name: value.clone() for name, value in model.state_dict().items()})

        train_prototypical(model, task(Augmentation()), training, accuracy, on_step=note)
        return states[-1]

    once = last_weights(1, TRAINING)
    assert states_equal(once, last_weights(2, TRAINING))
    assert not states_equal(once, last_weights(1, replace(TRAINING, seed=1)))


def test_a_loss_that_is_not_finite_stops_in_the_best_state_so_far() -> None:
    class Breaks(Network):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += self.training
            return super().forward(images) * (float("nan") if self.calls > 12 else 1)

    torch.manual_seed(0)
    model, kept = Breaks(), {}

    def note(step: int, found: float, best: bool) -> None:
        if best:
            kept.update({name: value.clone() for name, value in model.state_dict().items()})

    with pytest.raises(MilrError, match="loss is nan at step 13"):
        train(model, on_validation=note)
    assert states_equal(kept, model.state_dict())


def test_a_validation_that_is_not_finite_stops_in_the_best_state_so_far() -> None:
    spoiled, seen = network(), []

    def spoil(step: Step) -> None:
        seen.append(step.number)
        if step.number == 5:  # just before the validation
            spoiled.layer2.bias.data.fill_(float("inf"))

    before = {name: value.clone() for name, value in spoiled.state_dict().items()}
    with pytest.raises(MilrError, match="gives nan or inf for 80 of 80 pictures"):
        train(spoiled, on_step=spoil)
    assert seen == [1, 2, 3, 4, 5] and states_equal(before, spoiled.state_dict())


def test_a_network_with_nan_in_its_weights_is_not_trained() -> None:
    model = network()
    model.layer2.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(MilrError, match="gives nan or inf for 80 of 80 pictures: its weights are damaged"):
        train(model)


def test_frozen_parameters_and_eval_statistics_stay() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, replace(TRAINING, freeze=("layer1",), batch_norm="eval", episodes=5))
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("layer1"))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_batch_norm_in_training_mode_updates_its_statistics() -> None:
    model = network()
    before = model.layer1[1].running_mean.clone()
    trained = train(model, replace(TRAINING, episodes=60))
    assert trained.step > 0 and not torch.equal(model.layer1[1].running_mean, before)  # type: ignore[attr-defined]


def test_freezing_what_is_not_there_or_everything_is_refused() -> None:
    with pytest.raises(MilrError, match=r"names layer7, with which no parameter"):
        freeze(network(), ("layer7",))
    with pytest.raises(MilrError, match="leaves no parameter"):
        freeze(network(), ("layer",))


def test_freezing_a_numbered_block_leaves_those_whose_number_begins_so() -> None:
    blocks = nn.Sequential(*(nn.Linear(1, 1) for _ in range(12)))
    assert len(freeze(blocks, ("1",))) == 22 and not blocks[1].weight.requires_grad and blocks[10].weight.requires_grad


def test_rotation_is_the_mean_over_turns_of_who_is_support() -> None:
    training = replace(TRAINING, query=2, rotate=True)
    representation = torch.randn(4 * 3, 6)
    loss, _ = episode_loss(representation, training, MetricSettings())
    by_class, labels, losses = representation.view(4, 3, 6), torch.arange(4).repeat_interleave(2), []
    for support in range(3):
        rest = [index for index in range(3) if index != support]
        scores = logits(by_class[:, rest].flatten(0, 1), by_class[:, support], MetricSettings())
        losses.append(cross_entropy(scores, labels))
    assert torch.allclose(loss, torch.stack(losses).mean())


def test_several_episodes_in_one_step_give_the_mean_of_their_losses() -> None:
    first, second = torch.randn(2, 16, 6)
    together, _ = episode_loss(torch.cat([first, second]), TRAINING, MetricSettings())
    apart = [episode_loss(part, TRAINING, MetricSettings())[0] for part in (first, second)]
    assert torch.allclose(together, torch.stack(apart).mean())


def test_episode_loss_is_cross_entropy_of_queries_against_prototypes() -> None:
    representation = torch.randn(4 * 4, 6)
    by_class = representation.view(4, 4, 6)
    scores = logits(by_class[:, 1:].flatten(0, 1), prototypes(by_class[:, :1]), MetricSettings())
    labels = torch.arange(4).repeat_interleave(3)
    loss, hits = episode_loss(representation, TRAINING, MetricSettings())
    assert torch.allclose(loss, cross_entropy(scores, labels))
    assert torch.allclose(hits, (scores.argmax(1) == labels).float().mean())


def test_no_episodes_leave_the_weights_alone() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, replace(TRAINING, episodes=0))
    assert states_equal(before, model.state_dict())


def test_steps_are_reported_as_they_come() -> None:
    steps: list[Step] = []
    train(network(), replace(TRAINING, episodes=7, episodes_per_step=2), on_step=steps.append)
    assert [step.number for step in steps] == [1, 2, 3, 4]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimiser_moves_the_weights(optimizer: str) -> None:
    model = network()
    seen = []
    train(
        model,
        replace(TRAINING, optimizer=optimizer, episodes=3),
        on_step=lambda step: seen.append(model.layer2.bias.clone()),
    )
    assert not torch.equal(seen[0], seen[2])


def test_a_compiled_training_is_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compiled(model: nn.Module) -> nn.Module:  # without the compiler itself, which takes minutes
        calls.append(model)
        return nn.Sequential(model)

    monkeypatch.setattr(torch, "compile", compiled)
    plain, other = network(), network()
    train(plain)
    train(other, replace(TRAINING, compile=True))
    assert calls == [other] and states_equal(plain.state_dict(), other.state_dict())


def test_a_step_with_fewer_products_is_the_same_to_rounding() -> None:
    torch.manual_seed(0)
    first = build_backbone("resnet10")
    direct, fewer = copy.deepcopy(first), copy.deepcopy(first)
    for model, way in ((direct, False), (fewer, True)):
        train(model, replace(TRAINING, optimizer="sgd", episodes=1, winograd=way))
    assert not torch.equal(direct.layer2[0].conv2.weight, fewer.layer2[0].conv2.weight)  # it did go another way
    for (name, start), one, other in zip(
        first.named_parameters(), direct.parameters(), fewer.parameters(), strict=True
    ):
        assert (one - other).norm() < 1e-3 * (one - start).norm(), name


@pytest.mark.parametrize(
    ("changes", "fewer"),
    [({}, True), ({"winograd": False}, False), ({"precision": "bfloat16"}, False), ({"compile": True}, False)],
)
def test_the_forward_pass_goes_the_way_that_is_set(
    changes: dict[str, object], fewer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[bool] = []
    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr(winograd, "convolve", lambda *given: ways.append(True) or convolve(*given))
    layer, seen = nn.Conv2d(128, 128, 3, padding=1), list[Tensor]()
    layer.register_forward_hook(lambda module, inputs, output: seen.extend([inputs[0], output]))
    forward = forward_pass(layer, replace(TRAINING, **changes), torch.device("cpu"))  # type: ignore[arg-type]
    assert forward(torch.ones(2, 128, 4, 4)).dtype == torch.float32
    assert bool(ways) == fewer
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[1].dtype == (torch.bfloat16 if "precision" in changes else torch.float32)


def test_schedules() -> None:
    cosine, step, constant = (replace(TRAINING, schedule=name) for name in ("cosine", "step", "constant"))
    assert rate(0, 100, cosine) == 1 and rate(50, 100, cosine) == pytest.approx(0.5) and rate(99, 100, cosine) < 0.001
    assert [rate(s, 100, step) for s in (0, 19, 20, 40, 99)] == [1, 1, 0.5, 0.25, 0.0625]
    assert [rate(s, 100, replace(constant, warmup=4)) for s in (0, 1, 4, 50)] == [0.2, 0.4, 1, 1]


@pytest.mark.parametrize(("stop", "optimizer"), [(1, "sgd"), (7, "adam"), (10, "adam"), (20, "sgd")])
def test_stopped_and_resumed_it_ends_bit_for_bit_the_same(optimizer: str, stop: int) -> None:
    training = replace(TRAINING, optimizer=optimizer, learning_rate=0.05)
    whole = network()
    trained = train_prototypical(whole, task(Augmentation()), training, accuracy)
    states: list[State] = []

    def note(step: int, take: Callable[[], State]) -> None:
        if step == stop:
            states.append(copy.deepcopy(take()))
            raise KeyboardInterrupt

    arguments = (task(Augmentation()), training, accuracy)
    with pytest.raises(KeyboardInterrupt):
        train_prototypical(network(), *arguments, continuation=Continuation(None, note))
    resumed, validated = Network(), list[int]()
    again = train_prototypical(
        resumed,
        *arguments,
        on_validation=lambda step, accuracy, best: validated.append(step),
        continuation=Continuation(states[0]),
    )
    assert states_equal(whole.state_dict(), resumed.state_dict())
    assert (again.step, again.accuracy) == (trained.step, trained.accuracy)
    assert validated == [step for step in (5, 10, 15, 20) if step > stop]
