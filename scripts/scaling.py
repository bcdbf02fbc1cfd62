"""How the work grows: each part of it at three sizes, and the exponent that fits, as a Markdown table.

    OMP_NUM_THREADS=1 taskset -c 0 python scripts/scaling.py

One thread; the processor time of this process, so that others on the machine disturb little; the median of 5 calls
after one that is not counted. The exponent is the slope of log time on log size: 1 is in proportion, 2 its square.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from milr.backbones.backbones import build_backbone
from milr.data.episodes import draw_episodes
from milr.data.pictures import Pictures
from milr.data.records import Record
from milr.data.settings import Augmentation
from milr.evaluation.accuracy import episode_accuracies
from milr.explanation.critic_fitting import CriticTask, critic_loss
from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR
from milr.explanation.objective import measure
from milr.information.critic import Critic, CriticShape
from milr.information.infomax import batch_information
from milr.information.statistics import Standardise
from milr.networks.settings import MetricSettings
from milr.training.episodes import EpisodicTask
from milr.training.settings import Training
from milr.training.training import train_prototypical

CALLS = 5
Work = Callable[[], object]


@dataclass(frozen=True)
class Part:
    """A part of the work, and what it is at a size."""

    name: str
    grows_with: str
    sizes: Sequence[int]
    at: Callable[[int], Work]


def noise(images: int, size: int) -> Tensor:
    """Normalised images [images, 3, size, size] of noise."""
    return torch.randn(images, 3, size, size, generator=torch.Generator().manual_seed(0))


def explainer(size: int, images: int = 8) -> MILR:
    """An explainer on a random resnet10, prepared."""
    network = build_backbone("resnet10")
    made = MILR(network, "layer1", "avgpool", noise(2, size))
    made.prepare(noise(images, size).split(8), images)
    return made


def preparation(images: int) -> Work:
    """Statistics and the reference bank from that many images, 64 px."""
    made, pictures = explainer(64), noise(images, 64)
    return lambda: made.prepare(pictures.split(16), images)


def fit_step(size: int, images: int) -> Work:
    """A step of the mask: both passes, every term of eq. 10 and the gradients."""
    made, pictures = explainer(size), noise(images, size)
    batch = Batch(pictures, lambda output: (output[:, :5], torch.arange(images) % 5))
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        terms = measure(made, batch, made.layers.first_pass(pictures), generator)
        torch.autograd.backward(terms.loss(1, 0.01))

    return step


def critic_step(images: int, places: int) -> Work:
    """A step of the critic alone, on features that are there: 256 images, 16 x 16 places."""
    made = explainer(64, 256)
    features, critic, generator = made.features, made.modules.critic, torch.Generator().manual_seed(0)
    if features is None:
        raise ValueError("`prepare` computes them")
    task = CriticTask(features, features)

    def step() -> None:
        sample = features.draw(images, places, generator, torch.device("cpu"))
        torch.autograd.backward(critic_loss(critic, [sample], task, torch.Generator()))

    return step


def scores(images: int) -> Work:
    """The estimator's all-pairs scores of K images with 256 locations each, p = 64, and their gradients."""
    local = torch.randn(images, 256, 64, requires_grad=True)
    representation = torch.randn(images, 64, requires_grad=True)
    return lambda: torch.autograd.backward(batch_information(local, representation).mean())


def projection(dimension: int) -> Work:
    """The critic's projection of 256 representations of D dimensions, and its gradient."""
    blank = [Standardise(torch.zeros(n), torch.ones(n)) for n in (64, dimension)]
    critic = Critic(blank[0], blank[1], (16, 16), CriticShape(width=128, dimension=64))
    representation = torch.randn(256, dimension)
    return lambda: torch.autograd.backward(critic.project_representation(representation).sum())


def pictures_of(classes: int, each: int, size: int) -> Pictures:
    """Noise in classes."""
    labels = torch.arange(classes).repeat_interleave(each)
    images = torch.randint(0, 256, (len(labels), 3, size, size), dtype=torch.uint8)
    records = tuple(Record(i, Path(f"{i}.png"), int(label), str(int(label))) for i, label in enumerate(labels))
    return Pictures(images, labels, records)


def training(episodes: int) -> Work:
    """5-way 1-shot episodes with 5 queries, augmented, 42 px, conv4."""
    network = build_backbone("conv4")
    task = EpisodicTask(pictures_of(6, 8, 42), MetricSettings(), Augmentation())
    how = Training(episodes=episodes, way=5, shot=1, query=5, validate_every=10**6)
    return lambda: train_prototypical(network, task, how, lambda _: 0.0)


def testing(episodes: int) -> Work:
    """5-way 1-shot episodes of 15 queries on representations that are there, D = 512."""
    labels = torch.arange(20).repeat_interleave(30)
    representation = torch.randn(len(labels), 512)
    drawn = draw_episodes(labels, 5, 1, 15, 0, range(episodes))
    return lambda: episode_accuracies(representation, drawn, MetricSettings())


PARTS = (
    Part("preparing a fit, resnet10 at 64 px", "images", (32, 64, 128), preparation),
    Part("a fit step, resnet10, K = 10", "pixels of a side", (64, 96, 128), lambda size: fit_step(size, 10)),
    Part("a fit step, resnet10 at 64 px", "images K", (10, 20, 40), lambda images: fit_step(64, images)),
    Part("a critic's step, 64 places", "images K", (32, 64, 128), lambda images: critic_step(images, 64)),
    Part("a critic's step, 64 images", "places", (32, 64, 128), lambda places: critic_step(64, places)),
    Part("all-pairs scores alone, N = 256", "images K", (32, 64, 128), scores),
    Part("projecting 256 representations", "dimensions D", (512, 1024, 2048), projection),
    Part("training, conv4 at 42 px", "episodes", (4, 8, 16), training),
    Part("testing, representations given", "episodes", (250, 500, 1000), testing),
)


def seconds(work: Work) -> float:
    """The median processor time of a call."""
    work()
    times = []
    for _ in range(CALLS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times)


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """The slope of a least-squares line through log time over log size."""
    return statistics.linear_regression([math.log(s) for s in sizes], [math.log(t) for t in times]).slope


def main() -> None:
    torch.set_num_threads(1)
    print("| work | grows with | sizes | milliseconds | exponent |\n| --- | --- | --- | --- | --- |")
    for part in PARTS:
        torch.manual_seed(0)
        times = [seconds(part.at(size)) for size in part.sizes]
        shown = ", ".join(f"{1000 * value:.3g}" for value in times)
        cells = (part.name, part.grows_with, ", ".join(map(str, part.sizes)), shown)
        print(f"| {' | '.join(cells)} | {exponent(part.sizes, times):.2f} |", flush=True)


if __name__ == "__main__":
    main()
