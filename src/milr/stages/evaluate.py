"""`milr evaluate`: what the maps claim, measured on seeded episodes beside controls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from milr.errors import MilrError
from milr.stages.job import run_chained_stage
from milr.stages.runs import Run
from milr.stages.schema import Evaluate
from milr.stages.sources import SourceRun
from milr.stages.store import store_schemas

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from milr.data.pictures import Pictures
    from milr.evaluation.charts import Case
    from milr.evaluation.iba import FeatureStatistics
    from milr.evaluation.study import Shares
    from milr.evaluation.tables import Measurement, Result
    from milr.explanation.milr import MILR

store_schemas()

log = logging.getLogger("milr")


SHOWN = {  # metrics of the bar charts; those that the data set has not are left out
    "decision": ("area, accuracy", "area pixels, accuracy", "area, cosine"),
    "location": (
        "rank accuracy, defining",
        "pointing, defining",
        "rank accuracy, bird",
        "rank accuracy, box",
        "rank accuracy, box up to a third",
        "pointing, box",
    ),
}
PARTS_OF = ("decision", "total", "redundant")  # maps of the charts of parts, ordered by the first
WORST = "keep 20%, loss"  # what decides which cases are the worst for the decision map


def evaluate(settings: Evaluate, run: Run, source: SourceRun) -> float:
    """Returns the area between the keep and the remove curve of the decision map."""
    from tqdm import tqdm

    from milr.data.augmentation import to_input
    from milr.evaluation.methods import KINDS, Methods
    from milr.evaluation.study import Shares, measure_episode
    from milr.evaluation.tables import compare, summarise, write_csv
    from milr.explanation.batches import episode_decision
    from milr.explanation.fitting import Batch
    from milr.stages.catalogues import view
    from milr.stages.devices import choose_device
    from milr.stages.explainers import load_explainer
    from milr.stages.scenes import drawn_episodes

    device = choose_device(settings.device)
    shares = Shares(
        shares_of("evaluate.percent", settings.evaluate.percent),
        shares_of("evaluate.pixel_percent", settings.evaluate.pixel_percent) if settings.evaluate.pixel_percent else (),
    )
    baselines = available(settings.evaluate.baselines)
    explainer, network = load_explainer(
        source, settings.backbone.name, settings.dataset.size, device, settings.precision
    )
    statistics = training_statistics(explainer, source, settings.cache, device) if "iba" in baselines else None
    methods = Methods(explainer, baselines, statistics)
    shape = (settings.episode.way, settings.episode.shot, settings.episode.query)
    decide = episode_decision(*shape, network.metric, network.mean.to(device))
    measurements: list[Measurement] = []
    cases: dict[tuple[int, str], Case] = {}
    count = settings.evaluate.episodes
    for number, pictures in tqdm(drawn_episodes(settings, run, shape, count), total=count, desc="episodes"):
        batch = Batch(to_input(pictures.images).to(device), decide)
        maps = methods.maps(batch, seed=number)
        rows = measure_episode(explainer, batch, maps, pictures, settings.dataset.crop, shares, number)
        write_csv(run.path("per_image.csv"), rows, append=number > 0)  # at once: hours should not be lost
        measurements += rows
        cases |= cases_of(number, pictures, maps, first_query=shape[0] * shape[1])
    name = "/".join(Path(settings.dataset.root).parts[-2:])  # two subsets may both lie in a CUB_200_2011
    data_set = f"{name}, {settings.dataset.split}, {view(settings.dataset)}"
    results = summarise(measurements, data_set)
    write_csv(run.path("results.csv"), results)
    write_csv(run.path("paired.csv"), compare(measurements, data_set, KINDS))
    title = f"{shape[0]}-way {shape[1]}-shot, {data_set}, {count} episodes"
    draw(run, results, shares, title)
    draw_sheets(run, cases, measurements, settings.evaluate.sheet_rows, title)
    report(results, title)
    for result in results:
        run.metrics(**asdict(result))
    area = next(r.value for r in results if (r.map, r.metric) == ("decision", "area, accuracy"))
    run.record(result={"decision_area": area, "rows": len(measurements), "baselines": list(baselines)})
    log.info("open %s", run.path("curves_accuracy.png"))
    return area


def cases_of(
    number: int, pictures: Pictures, maps: Mapping[str, Tensor], first_query: int
) -> dict[tuple[int, str], Case]:
    """The queries of an episode with all maps of each, under (episode, file)."""
    from milr.evaluation.charts import Case

    cases = {}
    for index, record in list(enumerate(pictures.records))[first_query:]:
        own = {name: heat[index] for name, heat in maps.items()}
        cases[number, str(record.path)] = Case(pictures.images[index], record.class_name, own)
    return cases


def available(baselines: Sequence[str]) -> list[str]:
    """The baselines that can be made here; the others are named. MilrError for one that does not exist."""
    from milr.evaluation.methods import BASELINES, CAPTUM

    unknown = [name for name in baselines if name not in BASELINES]
    if unknown:
        raise MilrError(f"evaluate.baselines={unknown}: choose among {', '.join(BASELINES)}")
    missing = [name for name in baselines if name in CAPTUM and find_spec("captum") is None]
    if missing:
        log.warning("skipped, since captum is not installed: %s (pip install 'milr[baselines]')", ", ".join(missing))
    return [name for name in baselines if name not in missing]


def training_statistics(
    explainer: MILR, source: SourceRun, cache: str | None, device: torch.device
) -> FeatureStatistics:
    """Of single features over the training pictures of the fit, whatever data set is looked at now."""
    from milr.evaluation.iba import feature_statistics
    from milr.stages.catalogues import load_splits
    from milr.stages.devices import inputs
    from milr.stages.inherit import dataset_of

    _, pictures = load_splits(dataset_of(source), cache, ["train"])
    return feature_statistics(explainer.layers, inputs(pictures["train"].images, 32, device))


def draw(run: Run, results: Sequence[Result], shares: Shares, title: str) -> None:
    """Curves, bars and parts."""
    from milr.evaluation.charts import draw_bars, draw_curves, draw_parts

    for measure in ("accuracy", "loss", "cosine"):
        draw_curves(run.path(f"curves_{measure}.png"), results, shares, measure, title)
    for name, metrics in SHOWN.items():
        if any(result.metric in metrics for result in results):
            draw_bars(run.path(f"bars_{name}.png"), results, metrics, title)
        else:
            log.info("skipped, since nothing is marked on these pictures: bars_%s.png", name)
    for measure in ("percentile", "coverage"):
        if not draw_parts(run.path(f"parts_{measure}.png"), results, PARTS_OF, measure, title):
            log.info("skipped, since these pictures have no parts: parts_%s.png", measure)


def draw_sheets(
    run: Run, cases: dict[tuple[int, str], Case], measurements: Sequence[Measurement], rows: int, title: str
) -> None:
    """The first queries as they were drawn, and the ones in which the decision map fails most."""
    from milr.evaluation.charts import draw_cases

    draw_cases(run.path("sheet_first.png"), list(cases.values())[:rows], f"the first queries; {title}")
    kept = [m for m in measurements if m.map == "decision" and m.metric.startswith("keep") and "loss" in m.metric]
    metric = WORST if any(m.metric == WORST for m in kept) else kept[0].metric
    losses = sorted((m for m in kept if m.metric == metric), key=lambda m: -m.value)[:rows]
    worst = [cases[m.episode, m.file] for m in losses]
    draw_cases(run.path("sheet_worst.png"), worst, f"the worst: highest {metric} by the decision map; {title}")


def shares_of(key: str, percent: Sequence[float]) -> list[float]:
    """Shares in (0, 1). MilrError unless there are two or more whole percentages, rising, between 1 and 99."""
    rising = all(a < b for a, b in pairwise(percent))
    if len(percent) < 2 or not rising or any(p != int(p) or not 1 <= p <= 99 for p in percent):
        raise MilrError(f"{key}={list(percent)}: two or more whole numbers from 1 to 99, rising, are needed")
    return [value / 100 for value in percent]


def report(results: Sequence[Result], title: str) -> None:
    """A compact table: one line a metric, one column a map; the curves' points are in the charts and in results.csv."""
    names = list(dict.fromkeys(result.map for result in results))
    table = {(result.map, result.metric): result for result in results}
    short = [name[:10] for name in names]
    log.info("%s\n%-32s %s   chance", title, "", " ".join(f"{name:>10}" for name in short))
    for metric in dict.fromkeys(result.metric for result in results):
        if metric.startswith(("keep ", "remove ", "coverage", "lift")):
            continue
        cells = " ".join(f"{table[name, metric].value:10.3f}" for name in names)
        log.info("%-32s %s   %.3f", metric, cells, table[names[0], metric].chance)


@hydra.main(config_path="pkg://milr.conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return run_chained_stage(cfg, Evaluate, evaluate, source_stage="fit_milr", free=("dataset", "episode"))
