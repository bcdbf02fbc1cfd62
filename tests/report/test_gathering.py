from __future__ import annotations

import os
from pathlib import Path

import pytest
import shown_fit as shown
from made_runs import make_run

from milr.errors import MilrError
from milr.report.command import report
from milr.report.gathering import gather


def test_the_newest_of_what_was_made_from_a_fit_is_told_of(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    other = shown.fitted(outputs, "other", stages=("evaluate",))
    later = make_run(outputs, "visualize", "later", fit)
    subject = gather(["fit"], outputs).subjects[0]
    assert {stage: run.folder for stage, run in subject.followers.items()} == {"visualize": later}
    assert [each.fit.folder for each in gather(["other", "fit"], outputs).subjects] == [other, fit]


def test_a_run_that_goes_on_from_a_fit_stands_for_it(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    make_run(outputs, "visualize", "later", fit)
    named = gather(["maps of fit"], outputs).subjects
    assert [(each.fit.folder, each.followers["visualize"].folder.name) for each in named] == [(fit, "maps of fit")]
    assert len(gather(["fit", "later"], outputs).subjects) == 1


def test_latest_passes_over_what_has_no_maps(outputs: Path) -> None:
    fit = shown.fitted(outputs)
    make_run(outputs, "train_protonet", "another")
    assert gather(["latest"], outputs).subjects[0].fit.folder == fit


def test_the_newest_calibration_is_told_of(outputs: Path) -> None:
    shown.fitted(outputs)
    assert gather(["fit"], outputs).calibration is None
    folder = shown.calibrate(outputs)
    calibration = gather(["fit"], outputs).calibration
    assert calibration and calibration.folder == folder


def test_fits_of_one_name_are_told_apart(outputs: Path) -> None:
    folders = [shown.fitted(place) for place in (outputs, outputs.with_name("others"))]
    assert [each.name for each in gather([*map(str, folders)], outputs).subjects] == [*map(str, folders)]


def test_what_no_report_can_be_about_is_refused(outputs: Path) -> None:
    shown.fitted(outputs)
    bare = make_run(outputs, "fit_milr", "bare", outputs / "train_protonet" / "network")
    shown.calibrate(outputs)
    with pytest.raises(MilrError, match="no maps of .*bare are drawn yet: `milr visualize"):
        gather([str(bare)], outputs)
    with pytest.raises(MilrError, match="is a run of train-protonet: name one of fit-milr"):
        gather(["network"], outputs)
    with pytest.raises(MilrError, match="name a run of fit-milr too"):
        gather(["planted"], outputs)
    (bare / "DONE").unlink()
    with pytest.raises(MilrError, match="bare is not finished"):
        gather([str(bare)], outputs)


def test_a_report_goes_into_a_file(outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MilrError, match=rf"--to {tmp_path} is a folder: name the file in it, --to {tmp_path}/report.html"
    ):
        report(["fit"], outputs, str(tmp_path), "cpu")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MilrError, match=rf"--to {tmp_path}/pipe is a pipe: name a file"):
        report(["fit"], outputs, str(tmp_path / "pipe"), "cpu")
