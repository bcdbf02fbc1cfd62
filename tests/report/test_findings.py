from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import shown_fit as shown
from made_runs import make_run

from milr.evaluation.tables import compare, summarise, write_csv
from milr.report.checks import is_met
from milr.report.tables import FAILS, HOLDS, OPEN, Finding, interval, number, percent
from milr.report.worth import findings
from milr.runs.find import read_run


def found(fit: Path, **followers: Path) -> list[Finding]:
    calibration = followers.pop("calibrate", None)
    runs = {stage: read_run(folder) for stage, folder in followers.items()}
    return findings(read_run(fit), runs, read_run(calibration) if calibration else None)


def test_what_was_not_measured_names_its_command(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    commands = [finding.command for finding in found(fit)]
    assert commands == ["", *[f"milr evaluate source={fit}"] * 3, f"milr sanity source={fit}", "", "milr calibrate"]


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.73, HOLDS), (0.71, FAILS)])
def test_a_mask_that_loses_the_decision_is_named(outputs: Path, accuracy: float, verdict: str) -> None:
    fit = make_run(outputs, "fit_milr", result={"validation": {"accuracy": accuracy, "untouched_accuracy": 0.8}})
    mask = found(fit)[0]
    assert mask.verdict == verdict and f"is {accuracy:.2f} on the fit's validation pictures" in mask.sentences[0]


def test_the_sentence_about_keeping_has_the_numbers_of_the_table(outputs: Path) -> None:
    fit = shown.fitted(outputs, stages=("evaluate",))
    _, decision, redundant, pointing, *_ = found(fit, evaluate=outputs / "evaluate" / "numbers of fit")
    assert decision.verdict == pointing.verdict == HOLDS
    assert decision.sentences[0] == "All numbers here are of the same 20 decisions about pictures of birds."
    assert "Without the 20 % that the decision map marks highest accuracy is 0.10 [" in decision.sentences[3]
    assert "without as many random places 0.70." in decision.sentences[3]
    assert redundant.verdict == OPEN and "highest accuracy is 0.60 [" in redundant.sentences[0]
    assert "That is −0.10 beside random places on the same 20 pictures [" in redundant.sentences[1]  # noqa: RUF001
    assert "the 20 % of the places that the decision map marks highest, accuracy is 0.90 [" in decision.sentences[1]
    assert "90 % of what it is with all places (1.00); with as many random places 0.30, 30 %." in decision.sentences[1]
    assert "An answer that knows nothing has 0.20." in decision.sentences[1]
    assert "places have 0.60 more accuracy than random ones [" in decision.sentences[2]
    assert "lies on the official box in 90 % of 20 pictures" in pointing.sentences[0]
    assert "a place at random would in 35 %" in pointing.sentences[0]


def test_a_map_that_is_no_better_than_random_places_does_not_hold(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    rows = [replace(m, value=float(m.episode % 2)) if m.metric.kind == "keep" else m for m in shown.measurements()]
    folder = make_run(outputs, "evaluate", "bad", fit)
    write_csv(folder / "results.csv", summarise(rows, "birds"))
    write_csv(folder / "paired.csv", compare(rows, "birds", ["decision"]))
    decision = found(fit, evaluate=folder)[1]
    assert decision.verdict == FAILS and "the interval does not lie above 0" in decision.sentences[2]


@pytest.mark.parametrize(("left", "verdict"), [(0.7, HOLDS), (0.0, FAILS)])
def test_removing_what_is_redundant_should_cost_no_more_than_random_places(
    outputs: Path, left: float, verdict: str
) -> None:
    fit = shown.fitted(outputs)
    rows = [
        replace(m, value=float(number % 20 >= 20 - 20 * left)) if m.map in ("redundant", "random") else m
        for number, m in enumerate(
            m for m in shown.measurements() if m.metric.kind == "remove" and m.metric.share == 0.2
        )
    ]
    if verdict == FAILS:
        rows = [replace(m, value=1.0) if m.map == "random" else m for m in rows]
    folder = make_run(outputs, "evaluate", "removal", fit)
    write_csv(folder / "results.csv", summarise(rows, "birds"))
    write_csv(folder / "paired.csv", compare(rows, "birds", ["redundant"]))
    assert found(fit, evaluate=folder)[2].verdict == verdict


def test_sanity_counts_what_is_as_wanted(outputs: Path) -> None:
    fit = shown.fitted(outputs, stages=("sanity",))
    finding = found(fit, sanity=outputs / "sanity" / "checks of fit")[4]
    assert finding.verdict == FAILS  # a saturation of 0.9
    assert finding.sentences[-1] == "Of 5 numbers that say what they should be, 4 are so."
    assert "to 0.90 [0.85, 0.95]" in finding.sentences[0]


@pytest.mark.parametrize(
    ("wanted", "value", "met"),
    [
        ("at least 0.8", 0.8, True),
        ("at least 0.8", 0.79, False),
        ("under 0.25", 0.25, False),
        ("at most 0.25", 0.25, True),
        ("0 ± 0.05", -0.05, True),
        ("0 ± 0.05", 0.06, False),
        ("well under the seeds'", 0.79, True),  # 0.84 is below what the seeds have at least, 0.85
        ("well under the seeds'", 0.81, False),
        ("", 0.3, None),
    ],
)
def test_what_is_wanted_is_read(wanted: str, value: float, met: bool | None) -> None:
    rows = shown.sanity_rows()
    row = replace(rows[1], wanted=wanted, value=value, high=value + 0.05)
    assert is_met(row, rows[:3]) is met


def test_calibration_of_another_estimate_gives_no_verdict(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    planted = shown.calibrate(outputs)
    finding = found(fit, calibrate=planted)[-1]
    assert finding.verdict == OPEN and "It is another estimate" in finding.sentences[1]
    assert "0.95 bits for each true bit" in finding.sentences[0]
    same = shown.fitted(outputs, "same", **{"infomax.denominator": "representations", "infomax.map": "sample"})
    assert found(same, calibrate=planted)[-1].verdict == HOLDS


@pytest.mark.parametrize(
    ("steps", "gain", "verdict", "said"),
    [
        (900, 0.004, HOLDS, "it took 900 steps, of 1000 at most: it ended where they had stalled"),
        (1000, 0.07, FAILS, "it took 1000 steps, all 1000 that it was given"),
    ],
)
def test_whether_the_critic_had_converged(outputs: Path, steps: int, gain: float, verdict: str, said: str) -> None:
    critic = {"bits": 2.5, "step": 800, "steps": steps, "last_quarter_gain": gain}
    fit = make_run(outputs, "fit_milr", result={"critic": critic}, settings={"critic.steps": 1000})
    (finding,) = [each for each in found(fit) if each.title == "Had the estimator converged?"]
    assert finding.verdict == verdict and f"2.50 bits a place, at step 800; {said}." in finding.sentences[0]
    assert finding.sentences[1].startswith(f"The last quarter of the steps added {percent(gain)} of that;")
    assert ("fit with more critic.steps" in finding.sentences[-1]) is (verdict == FAILS)


def test_numbers_for_people() -> None:
    assert [number(value) for value in (0.1234, -2.5, 12.346, 1234.4, 0.00012, float("nan"))] == [
        *("0.123", "−2.500", "12.35", "1234", "0.00012", "–")  # noqa: RUF001
    ]
    assert (interval(0.1, 0.2), interval(0.1, 0.1), percent(0.934)) == ("[0.10, 0.20]", "", "93 %")
