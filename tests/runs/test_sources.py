from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disks import open_folder, unprivileged
from small import change

from milr.errors import MilrError
from milr.report.gathering import finished_run
from milr.runs.find import named_run
from milr.runs.folder import MANIFEST, open_run
from milr.runs.resume import run_to_resume
from milr.runs.sources import find_parent, find_source

MakeRun = Callable[..., Path]


def test_latest_is_the_finished_run_that_ended_last(make_run: MakeRun, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    change(make_run(name="z-first"), finished="2026-01-01T10:00:00.000+00:00")
    change(make_run(name="a-last"), finished="2026-01-01T13:00:00.000+02:00")
    with pytest.raises(KeyboardInterrupt), open_run(outputs / "train_protonet", "train_protonet", "stopped", {}):
        raise KeyboardInterrupt
    found = find_source(outputs, "train_protonet", "latest")
    assert found.folder.name == "a-last"
    assert found.folder.is_absolute()


@pytest.mark.parametrize("place", ["fit_milr_sweeps/milr.beta=1,3", "demo/fit_milr"])
def test_latest_is_the_same_run_for_a_stage_for_show_and_for_a_report(
    make_run: MakeRun, tmp_path: Path, place: str
) -> None:
    outputs = tmp_path / "outputs"
    network = make_run(name="network")
    parent = find_source(outputs, "train_protonet", str(network)).as_parent()
    change(make_run("fit_milr", "alone", parent=parent), finished="2026-01-01T10:00:00.000+00:00")
    (outputs / place).mkdir(parents=True)
    fit = Path(shutil.move(make_run("fit_milr", "later", parent=parent), outputs / place))
    change(fit, finished="2026-01-02T10:00:00.000+00:00")
    change(network, finished="2026-01-01T09:00:00.000+00:00")
    assert find_source(outputs, "fit_milr", "latest").folder == fit
    assert named_run(outputs, "fit-milr").folder == named_run(outputs, "latest").folder == fit
    assert finished_run("latest", outputs).folder == fit


def test_settings_of_another_run_are_not_taken_for_those_of_this_one(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    change(run, metric={"distance": "cosine", "temperature": 0.1})
    find_source(tmp_path / "outputs", "train_protonet", str(run))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("distance: cosine", "distance: euclidean"))
    with pytest.raises(MilrError, match=r"has metric\.distance=euclidean, and the run was made with cosine"):
        find_source(tmp_path / "outputs", "train_protonet", str(run))


@pytest.mark.parametrize("edit", ["size: 96", "crop: bbox"])
def test_pictures_of_another_size_or_crop_than_the_run_saw_are_not_taken(
    make_run: MakeRun, tmp_path: Path, edit: str
) -> None:
    run, data = make_run(), {"name": "cub", "crop": "bbox", "size": 96, "images": 90, "classes": 9, "fingerprint": "0"}
    change(run, data={**data, "root": "/birds/CUB_200_2011"})
    find_source(tmp_path / "outputs", "train_protonet", str(run))
    config, (key, value) = run / "config.yaml", edit.split(": ")
    config.write_text(config.read_text().replace(edit, f"{key}: {dict(size=64, crop='none')[key]}"))
    with pytest.raises(MilrError, match=rf"has dataset\.{key}=(64|none), and the run was made with {value}"):
        find_source(tmp_path / "outputs", "train_protonet", str(run))


def test_a_source_that_is_not_there_names_what_may_be_meant(make_run: MakeRun, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    with pytest.raises(MilrError, match=r"no folder .*latets \(did you mean 'latest'\?\)$"):
        find_source(outputs, "train_protonet", "latets")
    folders = [make_run(name=f"run-{number}") for number in range(4)]
    newest = f"{folders[3]}, {folders[2]}, {folders[1]}, ..."
    with pytest.raises(MilrError, match=rf"\(did you mean 'latest'\?\); the newest runs of train-protonet: {newest}$"):
        find_source(outputs, "train_protonet", "latets")
    with pytest.raises(MilrError, match=r"did you mean 'run-2'"):
        find_source(outputs, "train_protonet", "runn-2")


def test_a_named_run_is_resolved_from_the_callers_folder(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run()
    monkeypatch.chdir(folder.parent)
    found = find_source(Path("elsewhere"), "train_protonet", "run")
    assert found.folder == folder
    assert found.checkpoint == folder / "best.pt"
    assert found.config["episode"] == {"way": 4, "shot": 2, "query": 3}


def test_there_may_be_nothing_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="no run of train-protonet; run `milr train-protonet` first"):
        find_source(tmp_path, "train_protonet", "latest")
    with pytest.raises(MilrError, match="no folder"):
        find_source(tmp_path, "train_protonet", str(tmp_path / "absent"))
    with pytest.raises(MilrError, match="no run folder: it has no manifest"):
        find_source(tmp_path, "train_protonet", str(tmp_path))


def test_a_finished_run_without_its_marker_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    (folder / "DONE").unlink()
    with pytest.raises(MilrError, match="is not finished .it has no DONE.: name another"):
        find_source(tmp_path, "train_protonet", str(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2", r"config\.yaml:2 cannot be read \(expected ',' or '\]'.*put the file back"),
        ("loop: &a [*a]\n", r"config\.yaml cannot be read \(\*a in line 1 refers to another part of it\): .*put the"),
        ("", "config.yaml holds no settings: .*put the file back"),
        (None, r"config\.yaml cannot be read \(No such file or directory\): .*put the file back"),
    ],
)
def test_settings_that_are_gone_or_spoiled_are_a_line(
    make_run: MakeRun, tmp_path: Path, text: str | None, message: str
) -> None:
    config = make_run() / "config.yaml"
    config.unlink() if text is None else config.write_text(text)
    with pytest.raises(MilrError, match=message):
        find_source(tmp_path, "train_protonet", str(config.parent))


@pytest.mark.parametrize("parent", [{}, {"folder": None, "stage": "train_protonet", "checkpoint": "", "sha256": ""}])
def test_a_parent_of_which_nothing_is_told_is_no_manifest(
    make_run: MakeRun, tmp_path: Path, parent: dict[str, Any]
) -> None:
    child = make_run("fit_milr", parent=parent)
    with pytest.raises(MilrError, match="manifest.json is no manifest of milr: it has no 'parent.folder'"):
        find_source(tmp_path, "fit_milr", str(child))


def test_a_parent_that_is_gone_is_named_with_where_it_belongs(make_run: MakeRun, tmp_path: Path) -> None:
    parent = make_run()
    entry = find_source(tmp_path, "train_protonet", str(parent)).as_parent()
    child = find_source(tmp_path, "fit_milr", str(make_run("fit_milr", parent=entry)))
    parent.rename(tmp_path / "elsewhere")
    with pytest.raises(MilrError, match=rf"{child.folder} goes on from {parent}, which is gone: put it back there"):
        find_parent(child)


def test_a_run_of_another_stage_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="a run of fit-milr; needed is one of train-protonet"):
        find_source(tmp_path, "train_protonet", str(make_run("fit_milr")))


@pytest.mark.parametrize("state", ["running", "failed", "interrupted"])
def test_an_unfinished_run_is_refused(make_run: MakeRun, tmp_path: Path, state: str) -> None:
    folder = make_run()
    change(folder, state=state)
    with pytest.raises(MilrError, match=f"not finished.*{state}"):
        find_source(tmp_path, "train_protonet", str(folder))
    with pytest.raises(MilrError, match="none finished"):
        find_source(tmp_path / "outputs", "train_protonet", "latest")


def test_a_changed_or_missing_checkpoint_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    (folder / "best.pt").write_bytes((folder / "best.pt").read_bytes() + b"x")
    with pytest.raises(MilrError, match="sha256 differs"):
        find_source(tmp_path, "train_protonet", str(folder))
    (folder / "best.pt").unlink()
    with pytest.raises(MilrError, match="missing"):
        find_source(tmp_path, "train_protonet", str(folder))
    change(folder, checkpoint=None)
    with pytest.raises(MilrError, match="names no checkpoint"):
        find_source(tmp_path, "train_protonet", str(folder))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"parent": 7}', '{"checkpoint": "best.pt"}', '{"stage": 5}', '{"seconds": "long"}'),
        *('{"host": "here"}', '{"result": {"validation": 1}}', '{"parent": {"folder": 5}}'),
        *('{"data": {"name": "cub"}}', "[" * 100_000),
    ],
)
def test_a_broken_manifest_is_named(make_run: MakeRun, tmp_path: Path, text: str) -> None:
    folder = make_run()
    (folder / MANIFEST).write_text(text)
    with pytest.raises(MilrError, match=MANIFEST):
        find_source(tmp_path, "train_protonet", str(folder))


def test_a_run_of_a_stage_that_there_is_not_is_named(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    change(folder, stage="explain")
    with pytest.raises(MilrError, match=rf"{folder / MANIFEST} is of a stage 'explain', which this version"):
        named_run(tmp_path / "outputs", str(folder))


def test_a_parent_is_found_also_after_both_were_moved(make_run: MakeRun, tmp_path: Path) -> None:
    parent = find_source(tmp_path, "train_protonet", str(make_run(name="network")))
    child = find_source(tmp_path, "fit_milr", str(make_run("fit_milr", "fit", parent=parent.as_parent())))
    assert find_parent(child).folder == parent.folder
    shutil.move(tmp_path / "outputs", tmp_path / "moved")
    child = find_source(tmp_path, "fit_milr", str(tmp_path / "moved" / "fit_milr" / "fit"))
    assert find_parent(child).folder == tmp_path / "moved" / "train_protonet" / "network"


def test_of_copied_outputs_the_copy_counts(make_run: MakeRun, tmp_path: Path) -> None:
    parent = find_source(tmp_path, "train_protonet", str(make_run(name="network")))
    make_run("fit_milr", "fit", parent=parent.as_parent())
    copied = Path(shutil.copytree(tmp_path / "outputs", tmp_path / "copied"))
    child = find_source(tmp_path, "fit_milr", str(copied / "fit_milr" / "fit"))
    assert find_parent(child).folder == copied / "train_protonet" / "network"
    change(copied / "train_protonet" / "network", checkpoint={"file": "best.pt", "sha256": "another"})
    assert find_parent(child).folder == parent.folder  # what lies beside the copy under its name is another run


def test_a_parent_is_found_after_a_move_also_from_and_in_a_sweep(make_run: MakeRun, tmp_path: Path) -> None:
    parent = find_source(tmp_path, "train_protonet", str(make_run(name="network")))
    make_run("fit_milr", "milr.beta=1", parent=parent.as_parent())
    sweep = tmp_path / "outputs" / "fit_milr_sweeps" / "milr.beta=1,2"
    sweep.mkdir(parents=True)
    shutil.move(tmp_path / "outputs" / "fit_milr" / "milr.beta=1", sweep)
    fit = find_source(tmp_path, "fit_milr", str(sweep / "milr.beta=1"))
    drawn = make_run("visualize", "sheet", parent=fit.as_parent())
    moved = Path(shutil.move(tmp_path / "outputs", tmp_path / "moved"))
    fit = find_parent(find_source(tmp_path, "visualize", str(moved / "visualize" / drawn.name)))
    assert fit.folder == moved / "fit_milr_sweeps" / "milr.beta=1,2" / "milr.beta=1"
    assert find_parent(fit).folder == moved / "train_protonet" / "network"


def test_a_parent_that_was_trained_anew_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    parent = find_source(tmp_path, "train_protonet", str(make_run())).as_parent()
    folder = make_run("fit_milr", "fit", parent={**parent, "sha256": "0" * 64})
    with pytest.raises(MilrError, match="not the checkpoint that"):
        find_parent(find_source(tmp_path, "fit_milr", str(folder)))


@pytest.mark.parametrize("place", [".", "train_protonet", "train_protonet/new", f"train_protonet/new/{MANIFEST}"])
def test_latest_is_no_other_run_because_one_may_not_be_read(place: str) -> None:
    with open_folder() as folder:
        for name in ("old", "new"):
            with open_run(folder / "train_protonet", "train_protonet", name, {}):
                pass
        (folder / place).chmod(0)
        try:
            with unprivileged():
                with pytest.raises(MilrError, match=f"{folder}.*cannot be read: Permission denied"):
                    find_source(folder, "train_protonet", "latest")
                with pytest.raises(MilrError, match=f"{folder}/train_protonet.*cannot be read: Permission denied"):
                    run_to_resume(folder, "train_protonet", "latest")
                with pytest.raises(MilrError, match=f"{MANIFEST} cannot be read: Permission denied"):
                    find_source(folder, "train_protonet", str(folder / "train_protonet" / "new"))
        finally:
            (folder / place).chmod(0o777)
