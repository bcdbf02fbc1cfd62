from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import shown_fit as shown
from made_runs import make_run

from milr.checks.calibration import Calibration
from milr.evaluation.metrics import Metric
from milr.evaluation.tables import Measurement, compare, summarise, write_csv
from milr.report.checks import is_met
from milr.report.reading import read_rows
from milr.report.tables import NO, PART, UNDECIDED, UNMEASURED, YES, Finding, interval, more_or_less, number, percent
from milr.report.worth import findings
from milr.runs.find import read_run


def found(fit: Path, **followers: Path) -> list[Finding]:
    calibration = followers.pop("calibrate", None)
    runs = {stage: read_run(folder) for stage, folder in followers.items()}
    return findings(read_run(fit), runs, read_run(calibration) if calibration else None)


def test_what_was_not_measured_names_whole_commands(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    unmeasured = [finding for finding in found(fit) if finding.commands]
    evaluate, sanity = (f"milr {stage} source={fit} outputs={outputs}" for stage in ("evaluate", "sanity"))
    asked = [evaluate] * 3 + [sanity, f"milr calibrate outputs={outputs}"]
    assert [finding.commands[0] for finding in unmeasured] == asked
    assert all(finding.commands[-1].startswith("milr report ") for finding in unmeasured)
    assert {finding.verdict for finding in unmeasured} == {UNMEASURED}


def test_commands_name_no_outputs_where_a_command_puts_them_there_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fit = shown.fitted(tmp_path / "outputs")
    assert found(fit)[1].commands[0] == f"milr evaluate source={fit}"


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.73, YES), (0.71, NO)])
def test_a_mask_that_loses_the_decision_is_named(outputs: Path, accuracy: float, verdict: str) -> None:
    fit = make_run(outputs, "fit_milr", result={"validation": {"accuracy": accuracy, "untouched_accuracy": 0.8}})
    mask = found(fit)[0]
    assert mask.verdict == verdict and f"is {accuracy:.2f} on the fit's validation pictures" in mask.sentences[0]


def test_the_sentence_about_keeping_has_the_numbers_of_the_table(outputs: Path) -> None:
    fit = shown.fitted(outputs, stages=("evaluate",))
    _, decision, redundant, *_ = found(fit, evaluate=outputs / "evaluate" / "numbers of fit")
    said = "\n".join(decision.sentences)
    assert decision.sentences[0] == "All numbers here are of the same 20 decisions about pictures of birds."
    assert "the 20 % of the places that the decision map marks highest, accuracy is 0.90 [" in said
    assert "with as many random places it is 0.30; with all places, 1.00." in said
    assert "An answer that knows nothing has 0.20." in said
    assert "places have 0.60 more accuracy than random ones (difference 0.60 [" in said
    assert "Without the 20 % that the decision map marks highest accuracy is 0.10 [" in said
    assert "without as many random places 0.70." in said
    assert redundant.verdict == UNDECIDED and "highest accuracy is 0.60 [" in redundant.sentences[0]
    assert "it leaves 0.10 less accuracy than removing random places (difference −0.10 [" in redundant.sentences[1]  # noqa: RUF001


@pytest.mark.parametrize(("control", "verdict"), [(0.4, YES), (0.9, PART), (None, PART)])
def test_a_decision_map_must_beat_the_best_control_too(outputs: Path, control: float | None, verdict: str) -> None:
    fit = shown.fitted(outputs)
    rows = shown.measurements(centre=control)
    folder = make_run(outputs, "evaluate", "controls", fit)
    write_csv(folder / "results.csv", summarise(rows, "birds"))
    write_csv(folder / "paired.csv", compare(rows, "birds", ["decision"]))
    _, decision, _, pointing, *_ = found(fit, evaluate=folder)
    assert decision.verdict == pointing.verdict == verdict
    told = {0.4: "centre has most accuracy, 0.40", 0.9: "it is not shown to say more", None: "No other map"}[control]
    assert any(told in sentence for sentence in decision.sentences)
    assert "lies on the official box in 90 % of 20 pictures" in pointing.sentences[0]
    assert "a place at random would in 35 %" in pointing.sentences[0]
    assert told.replace("accuracy", "hits a picture") in pointing.sentences[1]


def test_the_area_is_said_beside_all_other_maps(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    rows = [
        replace(m, value=m.value + 0.3) if (m.map, m.metric.kind) == ("total", "area") else m
        for m in shown.measurements(centre=1.0)
    ]
    folder = make_run(outputs, "evaluate", "areas", fit)
    write_csv(folder / "results.csv", summarise(rows, "birds"))
    write_csv(folder / "paired.csv", compare(rows, "birds", ["decision"]))
    said = found(fit, evaluate=folder)[1].sentences[-1]
    assert said == (
        "By the area between keeping and removing, over all shares, it has 0.40: above it lie centre (0.50) (by more "
        "than the interval of the difference: none), below it total (0.30), redundant (−0.10), random (−0.20)."  # noqa: RUF001
    )


def test_pointing_names_where_a_control_ranks_more_places_of_a_region(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    rank = {"decision": 0.5, "centre": 0.8, "random": 0.4}
    rows = shown.measurements(centre=0.4)
    box = Metric("rank accuracy", "box")
    rows += [Measurement(m, 0, f"{n}.jpg", box, value, 0.4) for m, value in rank.items() for n in range(20)]
    folder = make_run(outputs, "evaluate", "ranks", fit)
    write_csv(folder / "results.csv", summarise(rows, "birds"))
    write_csv(folder / "paired.csv", compare(rows, "birds", ["decision"]))
    pointing = found(fit, evaluate=folder)[3]
    assert pointing.sentences[-1].endswith("a control lies above it on the official box (centre 0.80, decision 0.50).")


def test_a_map_that_is_no_better_than_random_places_does_not_hold(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    rows = [replace(m, value=float(m.episode % 2)) if m.metric.kind == "keep" else m for m in shown.measurements()]
    folder = make_run(outputs, "evaluate", "bad", fit)
    write_csv(folder / "results.csv", summarise(rows, "birds"))
    write_csv(folder / "paired.csv", compare(rows, "birds", ["decision"]))
    decision = found(fit, evaluate=folder)[1]
    assert decision.verdict == NO and "the interval does not lie above 0" in decision.sentences[2]


@pytest.mark.parametrize(("left", "verdict"), [(0.7, YES), (0.0, NO)])
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
    if verdict == NO:
        rows = [replace(m, value=1.0) if m.map == "random" else m for m in rows]
    folder = make_run(outputs, "evaluate", "removal", fit)
    write_csv(folder / "results.csv", summarise(rows, "birds"))
    write_csv(folder / "paired.csv", compare(rows, "birds", ["redundant"]))
    assert found(fit, evaluate=folder)[2].verdict == verdict


def test_sanity_counts_what_is_as_wanted(outputs: Path) -> None:
    fit = shown.fitted(outputs, stages=("sanity",))
    finding = found(fit, sanity=outputs / "sanity" / "checks of fit")[4]
    assert finding.verdict == PART  # a saturation of 0.9
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
    assert finding.verdict == UNMEASURED and "It is another estimate" in finding.sentences[1]
    assert "0.95 bits for each true bit" in finding.sentences[0]
    same = shown.fitted(outputs, "same", **{"infomax.denominator": "representations", "infomax.map": "sample"})
    assert found(same, calibrate=planted)[-1].verdict == YES
    table = planted / "calibrate.csv"
    assert "one fit each" in finding.sentences[0]
    write_csv(table, [replace(row, seeds=3) for row in read_rows(table, Calibration)])
    assert "the mean of 3 fits each" in found(fit, calibrate=planted)[-1].sentences[0]


@pytest.mark.parametrize(
    ("steps", "gain", "verdict", "said"),
    [
        (900, 0.004, YES, "it took 900 steps, of 1000 at most: it ended where they had stalled"),
        (1000, 0.07, NO, "it took 1000 steps, all that it was given"),
    ],
)
def test_whether_the_critic_had_converged(outputs: Path, steps: int, gain: float, verdict: str, said: str) -> None:
    finding = converged(outputs, steps=steps, gain=gain)
    assert finding.verdict == verdict and f"2.50 bits a place, at step 800; {said}." in finding.sentences[0]
    assert finding.sentences[1].startswith(f"The last quarter of the steps added {percent(gain)} of that;")
    assert finding.sentences[-1].startswith("So there is more to find") is (verdict == NO)


@pytest.mark.parametrize(
    ("mask", "pairs", "verdict", "longer"),
    [
        (80, 0.0, YES, ""),
        (100, 0.0, PART, "critic.steps=1000 milr.steps=200"),
        (80, 0.05, PART, "milr.steps=100 critic.steps=2000"),
        (100, 0.05, PART, "critic.steps=2000 milr.steps=200"),
    ],
)
def test_the_mask_and_the_critics_second_fit_are_told_of_too(
    outputs: Path, mask: int, pairs: float, verdict: str, longer: str
) -> None:
    phases = {
        "mask": {"step": 75, "steps": mask},
        "pairs": {"bits": 1.0, "step": 700, "steps": 900, "last_quarter_gain": pairs},
        "information": {
            split: {"bits": bits, "cap_bits": 6.0, "images": 256} for split, bits in (("train", 1.9), ("novel", 1.3))
        },
    }
    finding = converged(outputs, **phases)
    assert finding.verdict == verdict
    ended = "all that it was given" if mask == 100 else "of 100 at most: it ended where they had stalled"
    assert f"The mask's fit took {mask} steps, {ended}; its best was step 75." in finding.sentences
    assert f"their last quarter added {percent(pairs)}." in finding.sentences[3]
    assert (
        "finds 1.90 bits a place in 256 pictures that it was fitted to, 1.30 in 256 of the novel"
        in finding.sentences[4]
    )
    if longer:
        again, draw, measure, report = finding.commands
        network = outputs / "train_protonet" / "network"
        assert again == f"milr fit-milr source={network} experiment=demo {longer} outputs={outputs}"
        assert draw == f"milr visualize source=latest outputs={outputs}"
        assert measure == f"milr evaluate source=latest outputs={outputs}"
        assert report == f"milr report latest outputs={outputs}"
    else:
        assert not finding.commands


def converged(outputs: Path, steps: int = 900, gain: float = 0.004, **phases: object) -> Finding:
    """What is found of a fit that was typed with settings of its own."""
    network = make_run(outputs, "train_protonet", "network")
    critic = {"bits": 2.5, "step": 800, "steps": steps, "last_quarter_gain": gain}
    settings = {"critic.steps": 1000, "milr.steps": 100}
    command = "milr fit-milr source=latest experiment=demo milr.steps=100 outputs=elsewhere critic.steps=1000"
    result = {"critic": critic, **phases}
    fit = make_run(outputs, "fit_milr", "fit", network, result=result, settings=settings, command=command)
    (finding,) = [each for each in found(fit) if each.title == "Had the estimator converged?"]
    return finding


def test_numbers_for_people() -> None:
    assert [number(value) for value in (0.1234, -2.5, 12.346, 1234.4, 0.00012, float("nan"))] == [
        *("0.123", "−2.500", "12.35", "1234", "0.00012", "–")  # noqa: RUF001
    ]
    assert (more_or_less(-0.04, "bits"), more_or_less(0.6, "bits")) == ("0.04 less bits", "0.60 more bits")
    assert (interval(0.1, 0.2), interval(0.1, 0.1), percent(0.934)) == ("[0.10, 0.20]", "", "93 %")
