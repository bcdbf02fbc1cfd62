"""The checks of `milr sanity` whether what the maps are held against speaks for them: `mask_only`, `judge`, `fill`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.bars import bar
from milr.baselines.choice import available, methods_of, missing_packages
from milr.checks.agreement import Judged, Way, agreement_rows, judged
from milr.checks.honesty_charts import draw_agreement, draw_class_accuracies
from milr.checks.judge import another_judge
from milr.checks.mask_only import mask_only_rows
from milr.checks.sanity import SanityRow
from milr.data.augmentation import to_device, to_input
from milr.data.catalogues import view
from milr.data.pictures import Pictures
from milr.data.records import Record
from milr.errors import MilrError
from milr.explanation.dataset_decisions import Batches, DatasetDecision
from milr.explanation.milr import MILR
from milr.runs.folder import Run
from milr.settings.schema import FitMilr, Sanity
from milr.stages.episodes import tested_batches, with_own_mean
from milr.stages.evaluate import shares_of
from milr.stages.fit_milr import fit_batches

HONEST = ("mask_only", "judge", "fill")
FILLS = ("noise", "mean", "blur")  # beside the mask's own
OF_CLASSES = ("prototypes", "classes")  # decisions that a mask could write down


@dataclass(frozen=True)
class Bench:
    """What the checks look at."""

    settings: Sanity
    fitting: FitMilr  # the source run's settings
    explainer: MILR
    decision: DatasetDecision
    pictures: dict[str, Pictures]
    device: torch.device

    @property
    def split_pictures(self) -> Pictures:
        """Those of dataset.split."""
        return self.pictures[self.settings.dataset.split]

    @property
    def batches(self) -> Batches:
        """Of these pictures, as `milr evaluate` has them."""
        return tested_batches(self.settings.episode, self.decision.section, self.settings.seed)


def require_honest(settings: Sanity, decision: str) -> None:
    """MilrError for checks that cannot be made of such a decision, and for unknown baselines."""
    checks = settings.sanity.checks
    if "mask_only" in checks and decision not in OF_CLASSES:
        raise MilrError(
            f"sanity.checks: mask_only asks which class a mask tells, and decision={decision} is about none: leave it "
            "out"
        )
    missing_packages(settings.sanity.baselines, "sanity.baselines")


def honest_rows(bench: Bench, run: Run, title: str) -> Iterator[list[SanityRow]]:
    """Those that are asked for, each with its chart."""
    settings = bench.settings
    names = available(settings.sanity.baselines, "sanity.baselines")
    methods = methods_of(bench.explainer, names, bench.decision, lambda: bench.pictures["train"].batches(bench.device))
    if "mask_only" in settings.sanity.checks:
        known = [*bench.pictures.values()] if bench.decision.row.divided else [bench.pictures["train"]]
        rows = mask_only_rows(methods, bench.decision, known, settings.dataset.crop, settings.seed, bench.device)
        says = f"what a map alone tells of known classes: {view(settings.dataset)}"
        draw_class_accuracies(run.path(f"mask_only.{settings.format}"), rows, says)
        yield rows
    if "judge" in settings.sanity.checks or "fill" in settings.sanity.checks:
        ways, shares = ways_of(bench), shares_of(settings.sanity.percent)
        results = judged(methods, ways, scenes_of(bench), shares)
        compared: dict[str, dict[str, Judged]] = {
            "judge": {name: results[name] for name in ways if name not in FILLS},
            "fill": {
                ways["network"].fill: results["network"],
                **{name: results[name] for name in ways if name in FILLS},
            },
        }
        for check, seen in compared.items():
            if check in settings.sanity.checks:
                yield (rows := agreement_rows(check, seen))
                draw_agreement(run.path(f"{check}.{settings.format}"), rows, list(seen), f"{check}: {title}")


def ways_of(bench: Bench) -> dict[str, Way]:
    """The network itself with the mask's own fill, and what is asked for beside it: a judge, other fills."""
    checks, layers, own = bench.settings.sanity.checks, bench.explainer.layers, bench.explainer.settings.mask.fill
    ask = bench.decision.question(bench.batches).ask
    ways = {"network": Way(layers, ask, own)}
    if "judge" in checks:
        ways["judge"] = judge_of(bench)
    if "fill" in checks:
        ways |= {fill: Way(layers, ask, fill) for fill in FILLS if fill != own}
    return ways


def judge_of(bench: Bench) -> Way:
    """The judge, with prototypes of its own and the mean of what it says itself."""
    section = bench.settings.sanity
    batches, _ = fit_batches(bench.fitting, bench.decision, bench.pictures, bench.device)
    judge = another_judge(bench.explainer, batches, section.judge_steps, section.judge_rate, bench.settings.seed)
    decision = with_own_mean(bench.decision, judge.network, bench.pictures["train"], bench.device)
    return Way(judge, decision.question(bench.batches).ask, bench.explainer.settings.mask.fill)


def scenes_of(bench: Bench) -> Iterator[tuple[int, Tensor, Sequence[Record]]]:
    """The batches of dataset.split: number, images as the network takes them, and their records."""
    pool, question = bench.split_pictures, bench.decision.question(bench.batches)
    count = question.count(bench.settings.sanity.episodes, len(pool.records))
    for number in bar(range(count), desc="episodes", unit="episode"):
        chosen = question.draw(pool, number)
        images = to_input(to_device(pool.chosen(chosen), bench.device), normalisation=pool.normalisation)
        yield number, images, [pool.records[index] for index in chosen.tolist()]
