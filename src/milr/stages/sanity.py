"""`milr sanity`: do the maps depend on what the network learned, and on nothing else? Is the estimate right?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice

import torch
from torch import nn

from milr.baselines.methods import KINDS
from milr.checks.sanity import SanityRow, compared, estimator_rows, information_rows, law_rows
from milr.data.catalogues import data_entry, view
from milr.data.loading import load_splits
from milr.data.pictures import Pictures
from milr.errors import MilrError
from milr.evaluation.charts import Case, case_inches, draw_cases
from milr.evaluation.tables import write_csv
from milr.explanation.bars import Bars
from milr.explanation.dataset_decisions import DatasetDecision, part
from milr.explanation.fitting import fit
from milr.explanation.maps import Maps, stack
from milr.explanation.milr import MILR
from milr.explanation.settings import CriticSettings, FitSettings
from milr.fields import pick
from milr.figures.settings import SheetSettings
from milr.information.estimators import ESTIMATORS
from milr.networks.randomise import blocks, randomised
from milr.runs.folder import Run
from milr.runs.inherit import fit_settings_of
from milr.runs.sources import SourceRun
from milr.settings.schema import FitMilr, Sanity
from milr.stages.devices import choose_device
from milr.stages.episodes import decision_of, fitted_decision, split_looked_at, with_own_mean
from milr.stages.explainers import load_explainer
from milr.stages.fit_milr import fit_batches, new_explainer
from milr.stages.honesty import HONEST, Bench, honest_rows, require_honest
from milr.text import aligned

log = logging.getLogger("milr")

LAWS = ("consistency", "convergence", "estimators")  # about the estimate on the source's features; no refit
CHECKS = ("estimator", "seeds", "labels", "cascade", *LAWS, *HONEST)


def sanity(settings: Sanity, run: Run, source: SourceRun) -> float:
    """Returns the smallest rank correlation of the decision map between seeds (1 where no seed was compared)."""
    device, fitting = choose_device(settings.device), refit_settings(settings, source)
    case_inches(settings, 1 + refits_of(settings))  # before hours are spent
    bench = bench_of(settings, fitting, run, source, device)
    title = f"{view(settings.dataset)}, {settings.dataset.split} {bench.decision.part}"
    shown = chosen_pictures(bench.split_pictures, settings.sanity.images, settings.seed)
    real = maps_of(bench.explainer, shown, device)
    gallery = {"as fitted": real}
    rows = estimate_rows(bench)
    if set(HONEST) & set(settings.sanity.checks):
        for added in honest_rows(bench, run, title):
            rows += added
            write_csv(run.path("sanity.csv"), rows)
    for check, variant, other in variants(settings, fitting, bench.decision, bench.pictures, device):
        log.info("%s: %s fitted", check, variant)
        gallery[variant] = maps_of(other, shown, device)
        rows += compared(check, variant, real, gallery[variant])
        if check == "seeds":
            rows += information_rows(variant, other, bench.pictures, device)
        write_csv(run.path("sanity.csv"), rows)  # after each: hours should not be lost
    write_csv(run.path("sanity.csv"), rows)
    draw_galleries(run, shown, gallery, title, settings)
    log_rows(rows)
    for row in rows:
        run.metrics(**asdict(row))
    between = [r.value for r in rows if (r.check, r.map, r.measure) == ("seeds", "decision", "rank correlation")]
    run.record(result={"decision_repeatability": min(between, default=None), "rows": len(rows)})
    log.info("open %s", run.path(f"sheet_decision.{settings.format}"))
    return min(between, default=1.0)


def bench_of(settings: Sanity, fitting: FitMilr, run: Run, source: SourceRun, device: torch.device) -> Bench:
    """The source's explainer and the pictures that it is checked on, which the run's manifest then names."""
    dataset = settings.dataset
    explainer, network = load_explainer(source, settings.backbone.name, dataset.size, device, fitting.precision)
    decision = fitted_decision(source, dataset, network, device)
    catalogue, pictures = load_splits(
        dataset,
        settings.cache,
        normalisation=network.origin.normalisation,
        part_of=partial(part, decision.section),
    )
    run.record_data(data_entry(dataset, catalogue, decision.table), split_looked_at(decision))
    if dataset.split not in pictures:
        raise MilrError(f"dataset.split={dataset.split}: sanity needs one of {', '.join(pictures)}")
    return Bench(settings, fitting, explainer, decision, pictures, device)


def estimate_rows(bench: Bench) -> list[SanityRow]:
    """The checks of the estimate itself, on the features of the source's network."""
    settings, section, rows = bench.settings, bench.settings.sanity, list[SanityRow]()
    both = bench.explainer, bench.pictures, settings.dataset.split
    how = pick(CriticSettings, bench.fitting.critic)
    if "estimator" in section.checks:
        rows += estimator_rows(*both, how, section.estimators, settings.seed, bench.device)
    if laws := [check for check in LAWS if check in section.checks]:
        seeds = range(settings.seed, settings.seed + section.seeds)
        rows += law_rows(laws, *both, how, section.estimators, seeds, bench.device)
    return rows


def maps_of(explainer: MILR, pictures: Pictures, device: torch.device) -> Maps:
    """The maps of all pictures, in memory."""
    return stack([explainer.maps(images) for images in pictures.batches(device, 20)]).to("cpu")


def refit_settings(settings: Sanity, source: SourceRun) -> FitMilr:
    """The source run's settings, with the wanted number of steps. MilrError for checks that cannot be made."""
    unknown = [check for check in settings.sanity.checks if check not in CHECKS]
    if unknown or not settings.sanity.checks:
        raise MilrError(f"sanity.checks={unknown}: choose among {', '.join(CHECKS)}")
    if unknown := [name for name in settings.sanity.estimators if name not in ESTIMATORS]:
        raise MilrError(f"sanity.estimators={unknown}: choose among {', '.join(ESTIMATORS)}")
    if any(count < 1 for count in settings.sanity.cascade):
        raise MilrError(f"sanity.cascade={settings.sanity.cascade}: each number of randomised layers is at least 1")
    require_honest(settings, decision_of(source).name)
    fitting = fit_settings_of(source)
    if settings.sanity.steps:
        fitting = replace(fitting, milr=replace(fitting.milr, steps=settings.sanity.steps))
    critic = fitting.critic
    steps, images = settings.sanity.critic_steps or critic.steps, settings.sanity.critic_images or critic.images
    fitting = replace(fitting, critic=replace(critic, steps=steps, images=images))
    return fitting


def refits_of(settings: Sanity) -> int:
    """How many fits are compared with the source's."""
    section = settings.sanity
    counts = {"seeds": section.seeds - 1, "labels": 1, "cascade": len(section.cascade)}
    return sum(count for check, count in counts.items() if check in section.checks)


def draw_galleries(run: Run, shown: Pictures, gallery: Mapping[str, Maps], title: str, how: SheetSettings) -> None:
    """A sheet for each kind of map: the first ten pictures, a column for each fit."""
    for kind in KINDS:
        cases = [
            Case(picture, record.class_name, {name: getattr(maps, kind)[i] for name, maps in gallery.items()})
            for i, (picture, record) in enumerate(zip(shown.images[:10], shown.records, strict=False))
        ]
        path = run.path(f"sheet_{kind}.{how.format}")
        draw_cases(path, cases, f"{kind}: {title}", kind == "redundant", how)


def chosen_pictures(pictures: Pictures, count: int, seed: int) -> Pictures:
    """`count` of them at random, or all."""
    order = torch.randperm(len(pictures.images), generator=torch.Generator().manual_seed(seed))[:count]
    records = tuple(pictures.records[index] for index in order.tolist())
    return replace(pictures, images=pictures.images[order], labels=pictures.labels[order], records=records)


def variants(
    settings: Sanity,
    fitting: FitMilr,
    decision: DatasetDecision,
    pictures: dict[str, Pictures],
    device: torch.device,
) -> Iterator[tuple[str, str, MILR]]:
    """(check, what was changed, the module fitted that way), one after the other."""
    network = decision.network
    if "seeds" in settings.sanity.checks:
        for number in range(1, settings.sanity.seeds):
            seeded = replace(fitting, seed=fitting.seed + number)
            yield "seeds", f"seed {seeded.seed}", refit(seeded, decision, network.network, pictures, device)
    if "labels" in settings.sanity.checks:
        what = "support labels permuted" if decision.section.name == "prototypes" else "targets permuted"
        yield "labels", what, refit(fitting, decision, network.network, pictures, device, True)
    if "cascade" in settings.sanity.checks:
        names = blocks(network.network)
        for count in settings.sanity.cascade:
            batches = islice(pictures["train"].batches(device), 16)
            random = randomised(network.network, names[:count], batches, settings.seed)
            top = names[:count] if count < len(names) else ["all"]
            centred = with_own_mean(decision, random, pictures["train"], device)
            yield "cascade", f"random {'+'.join(reversed(top))}", refit(fitting, centred, random, pictures, device)


def refit(
    fitting: FitMilr,
    decision: DatasetDecision,
    backbone: nn.Module,
    pictures: dict[str, Pictures],
    device: torch.device,
    permuted: bool = False,
) -> MILR:
    """The module fitted to `backbone` as the source run did it; with `permuted`, to wrong labels or targets.

    Wrong labels are wrong in the validation too: with right ones it would choose a state that hardly saw the wrong.
    """
    explainer = new_explainer(fitting, backbone, pictures["train"], device)
    batches, validation = fit_batches(fitting, decision, pictures, device, permuted)
    how = pick(FitSettings, fitting.milr, seed=fitting.seed, critic=pick(CriticSettings, fitting.critic))
    with Bars(how, shown=True) as bars:
        fit(explainer, batches, how, validation, bars.on_step, on_critic=bars.on_critic)
    return explainer


def log_rows(rows: Sequence[SanityRow]) -> None:
    """One line a number; places, which the areas give, are in the file alone."""
    table = []
    for row in (row for row in rows if row.measure != "place"):
        interval = f"[{row.low:.3f}, {row.high:.3f}]" if row.low < row.high else ""
        wanted = f"(wanted: {row.wanted})" if row.wanted else ""
        table.append((row.variant, row.map, row.measure, f"{row.value:.3f}", interval, wanted))
    log.info("%s", "\n".join(aligned(table, right=(3,))))
