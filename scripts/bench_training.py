"""Rows of scripts/bench.py: training, its data alone, and testing, beside easyfsl."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import torch
from bench_clock import Bench, Prepared, Row
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from milr.backbones.backbones import build_backbone
from milr.backbones.protonet import represent
from milr.data.augmentation import to_input
from milr.data.cub import read_cub
from milr.data.episodes import draw_episodes
from milr.data.settings import Augmentation
from milr.data.split import of_split
from milr.evaluation.accuracy import episode_accuracies
from milr.networks.settings import MetricSettings
from milr.training.episodes import EpisodicTask, episode_inputs, episode_loss, forward_pass
from milr.training.settings import Training
from milr.training.training import train_prototypical

WAY, SHOT, QUERY = 5, 5, 10  # easyfsl's own training episode: 75 pictures
WORKERS, PREFETCHED = 2, 4  # of the peer's DataLoader: two batches each, made before the clock starts
CHANGES = Augmentation(scale_min=0.08, brightness=0.4, contrast=0.4, saturation=0.4)  # as easyfsl's
TEST_EPISODES = 10_000


def accept_data_source() -> None:
    """torch's Sampler takes `data_source` again, as easyfsl 1.5.0 gives it."""

    def initialise(self: Sampler[Any], data_source: object = None) -> None:
        pass

    Sampler.__init__ = initialise  # type: ignore[method-assign, assignment]


def peer_loader(bench: Bench, split: str, episodes: int, training: bool, shot: int) -> DataLoader[Any]:
    """easyfsl's recipe: its TaskSampler and transforms on PIL pictures, in a DataLoader with two workers."""
    from easyfsl.datasets.default_configs import default_transform
    from easyfsl.samplers import TaskSampler
    from PIL import Image

    records = of_split(read_cub(bench.data), split).records
    transform = default_transform(84, training)

    class Files(torch.utils.data.Dataset[Any]):
        labels = [record.class_id for record in records]  # noqa: RUF012

        def __len__(self) -> int:
            return len(records)

        def __getitem__(self, item: int) -> tuple[Tensor, int]:
            return transform(Image.open(records[item].path).convert("RGB")), records[item].class_id

        def get_labels(self) -> list[int]:
            return self.labels

    data = Files()
    sampler: Any = TaskSampler(data, WAY, shot, QUERY, episodes)
    pinned = bench.device.type == "cuda"
    collate = sampler.episodic_collate_fn
    return DataLoader(data, batch_sampler=sampler, num_workers=WORKERS, pin_memory=pinned, collate_fn=collate)


def warm_loader(bench: Bench, episodes: int) -> Iterator[Any]:
    """Training episodes of the peer with its workers started and what they made in advance thrown away."""
    loader = iter(peer_loader(bench, "train", episodes + 2 * PREFETCHED, True, SHOT))
    for _ in range(PREFETCHED):
        next(loader)
    return loader


def make_inputs(bench: Bench, task: EpisodicTask, settings: Training) -> None:
    """All episodes' pictures, as a training makes them."""
    for number in range(settings.episodes):
        episode_inputs(task, settings, number, bench.device)


def training(bench: Bench) -> list[Row]:
    """Episodic training, data included, and how much of it is forward and backward."""
    from easyfsl.methods import PrototypicalNetworks

    episodes, images = 4, 4 * WAY * (SHOT + QUERY)
    pictures = bench.pictures("train", 84)
    task = EpisodicTask(pictures, MetricSettings(), CHANGES)
    settings = Training(
        episodes=episodes, way=WAY, shot=SHOT, query=QUERY, optimizer="sgd", learning_rate=1e-2, weight_decay=5e-4
    )
    torch.manual_seed(0)
    network, peer = (build_backbone("resnet18").to(bench.device) for _ in range(2))
    model = PrototypicalNetworks(peer).to(bench.device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, weight_decay=5e-4)
    fixed = to_input(pictures.images[: WAY * (SHOT + QUERY)]).to(bench.device)

    def ours() -> None:
        train_prototypical(network, task, settings, lambda network: 0.0)

    forward = forward_pass(network, settings, bench.device)

    def alone() -> None:
        network.train()
        for _ in range(episodes):
            network.zero_grad(set_to_none=True)
            torch.autograd.backward(episode_loss(forward(fixed), settings, MetricSettings())[0])

    def theirs(loader: Iterator[Any]) -> None:
        model.train()
        for _ in range(episodes):
            support, labels, query, answers, _ = (value for value in next(loader))
            optimiser.zero_grad()
            model.process_support_set(support.to(bench.device), labels.to(bench.device))
            loss = nn.functional.cross_entropy(model(query.to(bench.device)), answers.to(bench.device))
            loss.backward()
            optimiser.step()
            loss.item()

    inputs, loader = partial(make_inputs, bench, task, settings), partial(warm_loader, bench, episodes)
    times = bench.alternate(ours=ours, alone=alone, inputs=inputs, theirs=Prepared(loader, theirs))
    ours_s, alone_s, inputs_s, theirs_s = times.values()
    rates = f"{images / ours_s:.1f} images/s, easyfsl {images / theirs_s:.1f}"
    share, waiting = alone_s / ours_s, inputs_s / ours_s
    return [
        Row("training, data included", f"{theirs_s / ours_s:.2f}x", "1.5x easyfsl", theirs_s / ours_s >= 1.5, rates),
        Row("of forward and backward alone", f"{share:.0%}", "95 %", share >= 0.95, f"{images / alone_s:.1f} images/s"),
        Row("waiting for data", f"{waiting:.1%}", "3 %", waiting < 0.03, "drawing, reading and changing the pictures"),
    ]


def data(bench: Bench) -> list[Row]:
    """Augmented training pictures, ready for the network; the C library keeps freed memory as it does in a training."""
    # From the first larger tensor freed on, which any training has, glibc gives blocks of up to its size again instead
    # of asking the system for new pages each time.
    torch.empty(31 << 20, dtype=torch.uint8)
    episodes, images = 20, 20 * WAY * (SHOT + QUERY)
    task = EpisodicTask(bench.pictures("train", 84), MetricSettings(), CHANGES)
    ours = partial(make_inputs, bench, task, Training(episodes=episodes, way=WAY, shot=SHOT, query=QUERY))

    def theirs(loader: Iterator[Any]) -> None:
        deque(islice(loader, episodes), 0)

    loader = partial(warm_loader, bench, episodes)
    ours_s, theirs_s = bench.alternate(ours=ours, theirs=Prepared(loader, theirs)).values()
    rates = f"{images / ours_s:.0f} images/s, the DataLoader {images / theirs_s:.0f}"
    return [Row("data alone", f"{theirs_s / ours_s:.1f}x", "8x the DataLoader", theirs_s / ours_s >= 8, rates)]


def testing(bench: Bench) -> list[Row]:
    """10,000 5-way 1-shot episodes of novel species, embeddings included; the peer's time scaled up from 10."""
    from easyfsl.methods import PrototypicalNetworks
    from easyfsl.utils import evaluate

    timed = 10
    pictures = bench.pictures("novel", 84)
    network = build_backbone("resnet18").to(bench.device).eval()
    known: list[Tensor] = []

    def embed() -> None:
        batches = (to_input(part).to(bench.device) for part in pictures.images.split(64))
        known[:] = [represent(network, batches)]

    def score() -> None:
        episodes = draw_episodes(pictures.labels, WAY, 1, QUERY, 0, range(TEST_EPISODES))
        episode_accuracies(known[0], episodes, MetricSettings()).mean().item()

    def peer() -> None:
        loader = peer_loader(bench, "novel", timed, False, 1)
        evaluate(PrototypicalNetworks(network).to(bench.device), loader, device=str(bench.device), use_tqdm=False)

    times = bench.alternate(embed=embed, score=score, peer=peer)
    ours, scaled = times["embed"] + times["score"], times["peer"] * TEST_EPISODES / timed
    context = f"{ours:.1f} s, easyfsl {scaled:.0f} s (scaled from {timed} episodes)"
    return [
        Row("testing, 10,000 episodes", f"{scaled / ours:.0f}x", "100x easyfsl", scaled / ours >= 100, context),
        Row("the episodes themselves", f"{times['score']:.2f} s", "2 s", times["score"] < 2, "drawn and scored"),
    ]
