"""Rows of scripts/bench.py: the maps, a step of the fit, its memory, and the start of the command line."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import linear_regression, median

import torch
from bench_clock import Bench, Row, say
from torch import nn

from milr.backbones.backbones import build_backbone
from milr.baselines.attribution import integrated_gradients, occlusion
from milr.baselines.iba import feature_statistics, per_sample_bottleneck
from milr.data.augmentation import to_input
from milr.data.cache import cached_pictures
from milr.data.cub import read_cub
from milr.data.pictures import Pictures
from milr.data.split import of_split
from milr.decisions.questions import EpisodeBatches
from milr.explanation.fitting import Batch, fit
from milr.explanation.milr import MILR
from milr.explanation.objective import Terms
from milr.explanation.settings import CriticSettings, FitSettings, MaskSettings, MilrSettings
from milr.networks.layers import frozen
from milr.networks.settings import MetricSettings

MASK_STEPS = 200  # as in fit_milr's cub_crops_imagenet
WARM_UP = 4  # steps of the mask's fit that are not counted
CRITIC = CriticSettings(steps=2, pairs=False)  # a step of the mask costs the same whatever the critic has learned
SETTINGS = MilrSettings(beta=7.68, mask=MaskSettings(shared=True, blur=2.5))  # fit_milr's cub_crops_imagenet
GIB = 1 << 30
PICTURES = (400, 800, 1300, 1900)  # that the memory of a fit is measured with


def explainer_on(bench: Bench, pictures: Pictures) -> MILR:
    """MI-LR on the ResNet-50, knowing 64 pictures: a map costs the same whatever the module has learned."""
    network = build_backbone("resnet50", bench.weights).to(bench.device).eval()
    known = to_input(pictures.images[:64]).to(bench.device)
    explainer = MILR(network, "layer1", "avgpool", known[:2], SETTINGS)
    explainer.prepare(known.split(16), len(known))
    explainer.fitted = True  # its maps are timed, not looked at
    return explainer


def episodes_of(bench: Bench, pictures: Pictures, way: int, query: int) -> EpisodeBatches:
    """Episodes of one support a class, as the fit takes them, without changes to the pictures."""
    return EpisodeBatches(pictures, (way, 1, query), MetricSettings("cosine", 0.05), None, None, 0, bench.device)


def maps(bench: Bench) -> list[Row]:
    """The three maps of ten pictures, beside a plain forward pass, and the slow explanations of four."""
    pictures = bench.pictures("train", 128)
    explainer = explainer_on(bench, pictures)
    batch, few = (episodes_of(bench, pictures, way, 1)(1) for way in (5, 2))
    network = explainer.layers.network
    statistics = feature_statistics(explainer.layers, to_input(pictures.images[:64]).to(bench.device).split(16))

    def forward() -> None:
        with torch.no_grad():
            network(batch.images)

    times = bench.alternate(
        forward=forward,
        maps=lambda: explainer.maps(batch.images),
        iba=lambda: per_sample_bottleneck(explainer.layers, few, statistics, torch.Generator().manual_seed(0)),
        integrated_gradients=lambda: integrated_gradients(network, few, (32, 32)),
        occlusion=lambda: occlusion(network, few, (32, 32)),
    )
    ours, plain = times.pop("maps") / len(batch.images), times.pop("forward") / len(batch.images)
    context = f"{1000 * ours:.0f} ms an image, the forward pass {1000 * plain:.0f} ms"
    rows = [Row("the three maps", f"{ours / plain:.2f} forwards", "2.2 forwards", ours / plain <= 2.2, context)]
    for name, value in times.items():
        value /= len(few.images)
        context = f"{value / plain:.0f} forwards"
        work = f"the three maps against {name.replace('_', ' ')}"
        rows.append(Row(work, f"{value / ours:.0f}x", "40x", value / ours >= 40, context))
    return rows


def fit_steps(bench: Bench) -> list[Row]:
    """A step of the fit against the passes that it cannot do without."""
    pictures = bench.pictures("train", 128)
    return [fit_step(bench, pictures, way, query) for way, query in ((10, 1), (5, 5))]


def fit_step(bench: Bench, pictures: Pictures, way: int, query: int) -> Row:
    """One shape of episode; floor and step take turns inside one fit."""
    explainer, episodes = explainer_on(bench, pictures), episodes_of(bench, pictures, way, query)
    batch, network = episodes(1), explainer.layers.network
    local = explainer.layers.first_pass(batch.images).local
    upper = nn.Sequential(*(network.get_submodule(name) for name in ("layer2", "layer3", "layer4", "avgpool")))
    floors: list[float] = []
    steps: list[float] = []
    start = 0.0

    def floor() -> None:
        with frozen(network):
            with torch.no_grad():
                network(batch.images)
            torch.autograd.backward(upper(local.clone().requires_grad_()).sum())

    def next_batch(step: int) -> Batch:
        nonlocal start
        bench.wait()
        start = time.perf_counter()
        return batch

    def after_step(step: int, terms: Terms) -> None:
        bench.wait()
        if step > WARM_UP:
            steps.append(time.perf_counter() - start)
            floors.append(bench.seconds(floor))
            say(f"  {len(steps)}/{bench.repeats} step {steps[-1]:.3f} s, floor {floors[-1]:.3f} s")

    fit(explainer, next_batch, FitSettings(steps=WARM_UP + bench.repeats, critic=CRITIC), on_step=after_step)
    ratio = median(step / floor for step, floor in zip(steps, floors, strict=True))
    context = f"{median(steps):.2f} s a step, the floor {median(floors):.2f} s"
    return Row(f"fit step, {way}-way 1-shot {query} query", f"{ratio:.2f} floors", "1.5 floors", ratio <= 1.5, context)


def first_map(bench: Bench) -> list[Row]:
    """A whole fit as `experiment=cub_crops_imagenet` makes it, once, and after how many pictures it has paid.

    Against per-sample IBA, which has nothing to fit.
    """
    train, held_out = bench.pictures("train", 128), bench.pictures("validation", 128)
    explainer = explainer_on(bench, train)
    seconds: dict[str, float] = {}
    latest = time.perf_counter()

    def lap(phase: str) -> None:
        nonlocal latest
        bench.wait()
        now = time.perf_counter()
        seconds[phase], latest = seconds.get(phase, 0.0) + now - latest, now

    views = [batch for images in (train.images, train.images.flip(3)) for batch in images.split(32)]
    explainer.prepare((to_input(part).to(bench.device) for part in views), 2 * len(train.images))
    lap("features")
    episodes, validation = episodes_of(bench, train, 10, 1), episodes_of(bench, held_out, 5, 3)
    fit(
        explainer,
        episodes,
        FitSettings(steps=MASK_STEPS, learning_rate=2e-3),
        [validation(number) for number in range(10)],
        on_step=lambda step, terms: lap("mask"),
        on_critic=lambda phase, step, nats: lap(phase),
    )
    few = episodes_of(bench, train, 2, 1)(1)
    statistics = feature_statistics(explainer.layers, to_input(train.images[:64]).to(bench.device).split(16))
    times = bench.alternate(
        maps=lambda: explainer.maps(few.images),
        iba=lambda: per_sample_bottleneck(explainer.layers, few, statistics, torch.Generator().manual_seed(0)),
    )
    ours, iba = times["maps"] / len(few.images), times["iba"] / len(few.images)
    whole, critic = sum(seconds.values()), seconds["features"] + seconds["critic"]
    even = whole / (iba - ours)
    parts = ", ".join(f"{phase} {value:.0f} s" for phase, value in seconds.items())
    return [
        Row(
            "the critic's fit, features included",
            f"{critic:.0f} s",
            "240 s",
            critic <= 240,
            f"{len(train.images)} pictures",
        ),
        Row("time to the first map", f"{whole + ours:.0f} s", "", True, parts),
        Row("break-even against IBA", f"{even:.0f} pictures", "40", even <= 40, f"IBA takes {iba:.2f} s a picture"),
    ]


def start(bench: Bench) -> list[Row]:
    """The command line's helps, by the wall clock."""
    rows = []
    for words, bar in ((["--help"], 0.3), (["fit-milr", "--help"], 0.6)):
        walls, works = [], []
        for _ in range(bench.repeats + 1):
            before = os.times()
            command = [sys.executable, "-m", "milr", *words]
            walls.append(bench.seconds(partial(subprocess.run, command, check=True, capture_output=True)))
            after = os.times()
            works.append(after.children_user + after.children_system - before.children_user - before.children_system)
        found = median(walls[1:])
        context = f"{median(works[1:]):.2f} s of it on the processor"
        rows.append(Row(f"milr {' '.join(words)}", f"{found:.2f} s", f"{bar} s", found < bar, context))
    return rows


def memory(bench: Bench) -> list[Row]:
    """Peak memory of a fit at 224 px, 40 images a step, and its growth with the pictures.

    What the C library keeps of freed memory differs from one process to the next, by more than the pictures could add:
    for the growth it gives every block of at least 1 MiB back at once.
    """
    ((whole, _),) = fit_peaks(bench, PICTURES[-1:])
    own = [own for _, own in fit_peaks(bench, PICTURES, MALLOC_MMAP_THRESHOLD_=str(1 << 20))]
    growth = linear_regression(PICTURES, own).slope / 1024
    pixels = 3 * 224 * 224 / 1024
    each = ", ".join(f"{value / GIB:.2f}" for value in own)
    told = f"{each} GiB of {', '.join(map(str, PICTURES))} pictures; a decoded one has {pixels:.0f} KiB"
    work = "peak memory of a fit, 224 px, 40 images a step"
    return [
        Row(work, f"{whole / GIB:.2f} GiB", "6 GiB", whole < 6 * GIB, f"{PICTURES[-1]} pictures"),
        Row("its growth, without pages of files", f"{growth:.1f} KiB a picture", "flat", growth < 0.1 * pixels, told),
    ]


def fit_peaks(bench: Bench, counts: tuple[int, ...], **environment: str) -> list[tuple[int, int]]:
    """`fit_peak` of as many pictures, each in a process of its own that starts with this environment."""
    context, peaks = multiprocessing.get_context("spawn"), []
    os.environ.update(environment)
    for count in counts:
        with context.Pool(1) as pool, tempfile.TemporaryDirectory() as cache:
            peaks.append(pool.apply(fit_peak, (vars_of(bench), count, Path(cache))))
        say(f"  {count} pictures: {peaks[-1][0] / GIB:.2f} GiB, {peaks[-1][1] / GIB:.2f} GiB of them its own")
    for name in environment:
        del os.environ[name]
    return peaks


def vars_of(bench: Bench) -> argparse.Namespace:
    """The arguments again, for a process of its own."""
    return argparse.Namespace(data=bench.data, weights=bench.weights, repeats=1, device=bench.device.type)


def fit_peak(arguments: argparse.Namespace, count: int, cache: Path) -> tuple[int, int]:
    """Bytes at the peak of two steps of a fit prepared on `count` pictures, as `milr fit-milr` does it.

    Of this process: all that it had in memory, and without pages of files such as the pictures' cache, which the system
    takes back when it needs them. On a GPU: twice what it had there.
    """
    bench = Bench(arguments)
    records = of_split(read_cub(bench.data), "train").records
    records = records[:: len(records) // count][:count]  # spread over the classes
    pictures = cached_pictures(records, 224, "none", cache)
    with own_memory() as own:
        explainer = explainer_on(bench, pictures)
        explainer.prepare((to_input(part, bench.device) for part in pictures.images.split(32)), count)
        fit(explainer, episodes_of(bench, pictures, 5, 7), FitSettings(steps=2, critic=replace(CRITIC, pairs=True)))
    if bench.device.type == "cuda":
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, max(own)


@contextmanager
def own_memory() -> Iterator[list[int]]:
    """Bytes of this process that are pages of no file (Linux), looked at a hundred times a second."""
    found, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line)
            found.append(int(line.split()[1]) * 1024)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()
