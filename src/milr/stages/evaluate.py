"""`milr evaluate`: what the maps claim, measured on seeded episodes beside controls."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
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
    from milr.evaluation.tables import Measurement, Result

store_schemas()

log = logging.getLogger("milr")


def evaluate(settings: Evaluate, run: Run, source: SourceRun) -> float:
    """Returns the area between the keep and the remove curve of the decision map."""
    from tqdm import tqdm

    from milr.data.augmentation import to_input
    from milr.evaluation.charts import draw_curves
    from milr.evaluation.study import measure_episode
    from milr.evaluation.tables import summarise, write_csv
    from milr.explanation.batches import episode_decision
    from milr.explanation.fitting import Batch
    from milr.stages.catalogues import view
    from milr.stages.devices import choose_device
    from milr.stages.explainers import load_explainer
    from milr.stages.scenes import drawn_episodes

    device = choose_device(settings.device)
    explainer, network = load_explainer(source, settings.backbone.name, settings.dataset.size, device)
    shape = (settings.episode.way, settings.episode.shot, settings.episode.query)
    shares = shares_of(settings.evaluate.percent)
    decide = episode_decision(*shape, network.metric, network.mean.to(device))
    measurements: list[Measurement] = []
    count = settings.evaluate.episodes
    for number, pictures in tqdm(drawn_episodes(settings, run, shape, count), total=count, desc="episodes"):
        batch = Batch(to_input(pictures.images).to(device), decide)
        measurements += measure_episode(explainer, batch, pictures, settings.dataset.crop, shares, number)
    results = summarise(measurements)
    write_csv(run.path("per_image.csv"), measurements)
    write_csv(run.path("results.csv"), results)
    title = (
        f"{shape[0]}-way {shape[1]}-shot, {settings.dataset.split} split, {view(settings.dataset)}, {count} episodes"
    )
    for measure in ("accuracy", "loss", "cosine"):
        draw_curves(run.path(f"curves_{measure}.png"), results, shares, measure, title)
    report(results, title)
    for result in results:
        run.metrics(**asdict(result))
    area = next(r.value for r in results if (r.map, r.metric) == ("decision", "area, accuracy"))
    run.record(result={"decision_area": area, "rows": len(measurements)})
    log.info("open %s", run.path("curves_accuracy.png"))
    return area


def shares_of(percent: Sequence[float]) -> list[float]:
    """Shares in (0, 1). MilrError unless there are two or more whole percentages, rising, between 1 and 99."""
    rising = all(a < b for a, b in pairwise(percent))
    if len(percent) < 2 or not rising or any(p != int(p) or not 1 <= p <= 99 for p in percent):
        raise MilrError(f"evaluate.percent={list(percent)}: two or more whole numbers from 1 to 99, rising, are needed")
    return [value / 100 for value in percent]


def report(results: Sequence[Result], title: str) -> None:
    """A compact table: one line a metric, one column a map; the curves' points are in the charts and in results.csv."""
    names = list(dict.fromkeys(result.map for result in results))
    table = {(result.map, result.metric): result for result in results}
    log.info("%s\n%-28s %s   chance", title, "", " ".join(f"{name:>10}" for name in names))
    for metric in dict.fromkeys(result.metric for result in results):
        if metric.startswith(("keep ", "remove ")):
            continue
        cells = " ".join(f"{table[name, metric].value:10.3f}" for name in names)
        log.info("%-28s %s   %.3f", metric, cells, table[names[0], metric].chance)


@hydra.main(config_path="pkg://milr.conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return run_chained_stage(cfg, Evaluate, evaluate, source_stage="fit_milr", free=("dataset", "episode"))
