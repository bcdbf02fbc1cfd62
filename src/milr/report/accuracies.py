"""The accuracies of one network that a report has, each with the pictures that it is of: they are not one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milr.evaluation.metrics import Metric
from milr.evaluation.tables import Result
from milr.report.gathering import Subject
from milr.report.pictures import Strip
from milr.report.reading import read_rows
from milr.report.tables import number
from milr.report.worth import accuracy_word
from milr.runs.find import RunInfo
from milr.runs.manifests import read_config


def accuracies(subject: Subject, strips: Sequence[Strip]) -> str:
    """A sentence that lists them; nothing where there are fewer than two."""
    sentences = [
        trained(subject.network),
        tested(subject.test),
        fitted(subject.fit),
        evaluated(subject.followers.get("evaluate")),
        drawn(strips),
    ]
    said = [each for each in sentences if each]
    if len(said) < 2:
        return ""
    return (
        f"The network's {accuracy_word(subject.fit)} without a mask stands here several times, each of other pictures: "
        f"{'; '.join(said)}. The fewer the decisions, the less a difference means."
    )


def result_of(run: RunInfo | None) -> dict[str, Any]:
    """What a run came to."""
    return (run.manifest.get("result") or {}) if run else {}


def trained(network: RunInfo | None) -> str:
    """By what the training chose its step."""
    value = result_of(network).get("validation_accuracy")
    if network is None or value is None:
        return ""
    count = (read_config(network.folder).get("train") or {}).get("validation_episodes")
    return f"{number(value)} in {count} episodes of validation classes, by which its training chose the step"


def tested(test: RunInfo | None) -> str:
    """The measurement that is meant for a table."""
    if test is None or "accuracy" not in (result := result_of(test)):
        return ""
    split = (read_config(test.folder).get("dataset") or {}).get("split")
    return (
        f"{number(result['accuracy'])} ± {number(result['interval'])} in {result['episodes']} episodes of the {split} "
        "split (test-protonet), the one to quote"
    )


def fitted(fit: RunInfo) -> str:
    """Of the fit's validation."""
    value = (result_of(fit).get("validation") or {}).get("untouched_accuracy")
    count = (read_config(fit.folder).get("milr") or {}).get("validation_episodes")
    return "" if value is None else f"{number(value)} on the fit's validation pictures, {count} episodes or batches"


def evaluated(run: RunInfo | None) -> str:
    """Of the evaluation."""
    rows = read_rows(run.folder / "results.csv", Result) if run else []
    row = next((row for row in rows if row.metric == Metric("untouched", "", "accuracy")), None)
    return f"{number(row.value)} of {row.n} decisions of milr evaluate" if row else ""


def drawn(strips: Sequence[Strip]) -> str:
    """Of the pictures on the page."""
    right = [strip.right for strip in strips if strip.right is not None]
    return f"{sum(right)} of {len(right)} decisions about the pictures above" if right else ""
