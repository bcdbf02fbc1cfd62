"""The one table of stages, and that of the commands about runs: what the rest of milr must know stands in their rows.

A new stage is a file in `milr/stages`, its settings in `schema.py`, a row here, and a file of its groups in `conf/`.
Where its work is stands as a dotted path, which is imported when the work begins: no torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from milr.errors import MilrError
from milr.settings.schema import (
    Calibrate,
    Data,
    Evaluate,
    FitMilr,
    Interventions,
    Layers,
    Sanity,
    StageSettings,
    TestProtonet,
    TrainProtonet,
    Visualize,
)

INHERITED = ("dataset", "backbone", "episode", "metric")  # the sections that a stage takes from its source run


@dataclass(frozen=True)
class Stage:
    """What a stage is."""

    name: str  # as Python, the settings and the folders have it: fit_milr
    help: str  # one line
    settings: type[StageSettings]
    work: str  # "module:function": (settings, run) -> objective, or (settings, run, source) with a source
    source: str | None = None  # the stage whose run it goes on from
    free: tuple[str, ...] = ()  # sections or keys of the source's settings in which an override wins
    files: tuple[str, ...] = ()  # promised from the start, {format} as set: without one a run is not finished
    splits: tuple[str, ...] = ()  # of which it takes episodes; none: of dataset.split
    figure: tuple[str, ...] = ()  # formats of what one wants to know of its result first; the first that fits
    columns: tuple[str, ...] = ()  # numbers of its result in the table of a sweep, by their dotted names
    one_step: Mapping[str, Any] = field(default_factory=dict)  # settings of the shortest run, for `milr check`
    helper: str | None = None  # "module:function": what torchrun's other processes do; None: it is for one process
    reads_data: bool = True  # False: it draws its own pictures, whatever dataset says, and has no network
    makes_run: bool = True  # False: it has no run folder, and its work takes the settings alone

    @property
    def cli_name(self) -> str:
        """Its name on the command line: fit-milr."""
        return cli_name(self.name)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Command:
    """A command about runs."""

    help: str  # one line
    work: str  # "module:function": options as argparse gives them -> exit code


TRAIN_AND_VALIDATION = ("train", "validation")
ALL_SPLITS = ("train", "validation", "novel")
SANITY_SHEETS = tuple(f"sheet_{kind}.{{format}}" for kind in ("total", "kept", "redundant", "decision"))
EVALUATE_SHEETS = ("sheet_first.{format}", "sheet_worst.{format}")

STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "train_protonet",
            "train a prototypical network, episode by episode",
            TrainProtonet,
            "milr.stages.train_protonet:train_protonet",
            files=("best.pt", "metrics.jsonl"),
            splits=TRAIN_AND_VALIDATION,
            figure=("validation accuracy {validation_accuracy:.3f}", "as it is, not trained"),
            columns=("validation_accuracy",),
            one_step={"train.validation_episodes": 1, "train.episodes": 1},
            helper="milr.stages.train_protonet:help_to_train",
        ),
        Stage(
            "test_protonet",
            "measure a trained network's accuracy over many seeded episodes",
            TestProtonet,
            "milr.stages.test_protonet:test_protonet",
            source="train_protonet",
            free=("dataset", "episode"),
            files=("episodes.csv", "metrics.jsonl"),
            figure=("{split} accuracy {accuracy:.3f} ± {interval:.3f}",),
            columns=("accuracy",),
            one_step={"test.episodes": 2},
        ),
        Stage(
            "fit_milr",
            "insert the MI-LR module into a trained, frozen network and fit it",
            FitMilr,
            "milr.stages.fit_milr:fit_milr",
            source="train_protonet",
            files=("milr.pt", "metrics.jsonl"),
            splits=ALL_SPLITS,
            figure=(
                "objective {validation[objective]:.3f}, "
                "validation accuracy {validation[accuracy]:.3f} masked, {validation[untouched_accuracy]:.3f} untouched",
            ),
            columns=(
                "validation.accuracy",
                "validation.untouched_accuracy",
                "validation.mask_mean",
                "validation.decision_bits",
                "validation.redundant_bits",
            ),
            one_step={"milr.steps": 1, "milr.validation_episodes": 1, "critic.steps": 1, "critic.views": 1},
        ),
        Stage(
            "visualize",
            "draw the total, decision-related and redundant information of episodes or of your own pictures",
            Visualize,
            "milr.stages.visualize:visualize",
            source="fit_milr",
            free=("dataset", "episode"),
            files=("figures.json", "metrics.jsonl"),
            figure=("total {total_mean_bits:.3f} bits a place",),
            columns=("total_mean_bits",),
            one_step={"visualize.episodes": 1},
        ),
        Stage(
            "evaluate",
            "measure what the maps claim, beside controls: where they point, and what the decision loses without",
            Evaluate,
            "milr.stages.evaluate:evaluate",
            source="fit_milr",
            free=("dataset", "episode"),
            files=("per_image.csv", "results.csv", "paired.csv", *EVALUATE_SHEETS, "metrics.jsonl"),
            figure=("decision area {decision_area:.3f}",),
            columns=("decision_area",),
            one_step={"evaluate.episodes": 1, "evaluate.baselines": []},
        ),
        Stage(
            "interventions",
            "hold the maps against pictures without single parts: complete, correct, of the class that is asked for?",
            Interventions,
            "milr.stages.interventions:interventions",
            source="fit_milr",
            free=("dataset", "episode"),
            files=("per_image.csv", "results.csv", "paired.csv", "parts.csv", "interventions.png", "metrics.jsonl"),
            figure=("decision map correctness {decision_correctness:.3f}, completeness {decision_completeness:.3f}",),
            columns=("decision_correctness", "decision_completeness", "accuracy", "background_independence"),
            one_step={
                "interventions.episodes": 1,
                "interventions.validation_episodes": 0,
                "interventions.contrasts": 1,
                "interventions.baselines": [],
            },
        ),
        Stage(
            "sanity",
            "refit with other seeds, wrong labels and randomised layers: do the maps depend on what was learned?",
            Sanity,
            "milr.stages.sanity:sanity",
            source="fit_milr",
            free=("dataset.split",),
            files=("sanity.csv", "metrics.jsonl", *SANITY_SHEETS),
            splits=ALL_SPLITS,
            figure=("decision repeatability {decision_repeatability:.3f}", "{rows} rows"),
            columns=("decision_repeatability",),
            one_step={"sanity.checks": ["estimator", "labels"], "sanity.steps": 1, "sanity.critic_steps": 1},
        ),
        Stage(
            "calibrate",
            "hold the estimated information against planted bits: drawn pictures and networks where it is known",
            Calibrate,
            "milr.stages.calibrate:calibrate",
            files=("calibrate.csv", "places.csv", "calibration.png", "metrics.jsonl"),
            figure=("slope {slope:.3f}, places without information {empty_bits:.3f} bits",),
            columns=("slope", "intercept", "empty_bits", "single_error_bits"),
            one_step={
                "calibrate.worlds": ["symbols"],
                "calibrate.estimators": ["infonce"],
                "calibrate.denominators": ["representations"],
                "calibrate.train_pictures": 256,
                "calibrate.held_out_pictures": 128,
                "calibrate.test_pictures": 8,
                "critic.steps": 1,
            },
            reads_data=False,
        ),
        Stage(
            "data",
            "make, download or check a data set, and say what it holds",
            Data,
            "milr.stages.data:data",
            makes_run=False,
        ),
        Stage(
            "layers",
            "a table of a network's layers: shapes, what each can be, and which are taken where none are named",
            Layers,
            "milr.stages.layers:layers",
            makes_run=False,
        ),
    )
}
COMMANDS = {
    "runs": Command("a table of the runs under outputs/", "milr.lineage.listing:main"),
    "show": Command("one run: its settings, what it was made from, its result and files", "milr.lineage.show:main"),
    "check": Command("try everything that a stage needs before hours are spent on it", "milr.stages.check:main"),
    "rerun": Command("repeat a run into a new folder and compare", "milr.lineage.rerun:main"),
    "sweep-report": Command(
        "a sweep of fits as a table, a grid of alpha and beta, and a contact sheet of maps",
        "milr.lineage.sweep_report:main",
    ),
    "report": Command(
        "one HTML file to look at and to hand on: maps, what they are worth, how they came about",
        "milr.report.command:main",
    ),
}


def cli_name(stage: object) -> str:
    """A stage's name as the command line has it."""
    return str(stage).replace("_", "-")


def stage_named(word: str) -> Stage:
    """The stage with this name, in either spelling. MilrError, with the nearest name, if there is none."""
    if stage := STAGES.get(word.replace("-", "_")):
        return stage
    near = get_close_matches(word, [*map(cli_name, STAGES), *COMMANDS], n=1, cutoff=0.4)
    raise MilrError(f"there is no stage {word!r}: " + (f"did you mean {near[0]!r}?" if near else "`milr` lists them"))
