from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milr.errors import MilrError
from milr.stages.runs import MANIFEST, make_folder, open_run, plain, sweep_name


def manifest_of(folder: Path) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return entries


def test_the_state_is_running_until_the_body_ends(tmp_path: Path) -> None:
    with open_run(tmp_path, "train_protonet", "run", {"seed": 3}) as run:
        assert manifest_of(run.folder)["state"] == "running"
        run.record(result={"accuracy": 0.5})
    manifest = manifest_of(run.folder)
    assert (manifest["state"], manifest["seed"], manifest["result"]) == ("finished", 3, {"accuracy": 0.5})
    assert manifest["created"] <= manifest["finished"]
    assert [path.name for path in run.folder.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (MilrError("mend it"), "failed", "mend it"),
        (ValueError("a bug"), "failed", "ValueError: a bug"),
        (KeyboardInterrupt(), "interrupted", None),
    ],
)
def test_a_run_that_breaks_off_says_so(tmp_path: Path, error: BaseException, state: str, message: str | None) -> None:
    with pytest.raises(type(error)), open_run(tmp_path, "fit_milr", "run", {}):
        raise error
    manifest = manifest_of(tmp_path / "run")
    assert (manifest["state"], manifest.get("error")) == (state, message)


def test_runs_of_the_same_name_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: make_folder(tmp_path, "run"), range(24)))
    assert len(set(folders)) == 24
    assert {folder.name for folder in folders} == {"run", *(f"run-{number}" for number in range(2, 25))}


def test_metrics_are_strict_json_lines(tmp_path: Path) -> None:
    with open_run(tmp_path, "train_protonet", "run", {}) as run:
        run.metrics(step=1, loss=0.25)
        run.metrics(step=2, loss=float("nan"))
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.25}, {"step": 2, "loss": None}]


def test_the_log_holds_what_was_said_during_the_run_and_no_more(tmp_path: Path) -> None:
    log = logging.getLogger("milr.somewhere")
    handlers = list(logging.getLogger("milr").handlers)
    with open_run(tmp_path, "train_protonet", "run", {}) as run:
        log.warning("said within")
    log.warning("said after")
    text = (run.folder / "log.txt").read_text()
    assert "said within" in text and "said after" not in text
    assert logging.getLogger("milr").handlers == handlers


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MilrError, match=r"cannot write a run folder in .*file.*outputs="):
        open_run(tmp_path / "file" / "outputs", "data", "run", {}).__enter__()


def test_a_sweeps_run_is_named_after_its_overrides() -> None:
    assert sweep_name(["milr.beta=0.1", "source=latest", "milr.alpha=1"]) == "milr.alpha=1,milr.beta=0.1"
    assert sweep_name(["source=latest"]) == "defaults"


@given(st.lists(st.text(min_size=1), max_size=6))
def test_a_sweeps_name_fits_any_file_system_and_does_not_depend_on_the_order(overrides: list[str]) -> None:
    name = sweep_name(overrides)
    assert name == sweep_name(overrides[::-1])
    assert 0 < len(name) <= 127 and name not in (".", "..")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=,+-")


def test_different_overrides_keep_different_names_where_characters_had_to_go() -> None:
    assert sweep_name(["train.freeze=[a/b]"]) != sweep_name(["train.freeze=[a:b]"])


def test_names_do_not_differ_by_capitals_alone() -> None:
    names = {sweep_name([override]).lower() for override in ("x=a", "x=A", "x=aa", "x=aA")}
    assert len(names) == 4


def test_a_source_stands_in_a_name_under_its_folder() -> None:
    one, other = (sweep_name([f"source='/{place}/run 1'"], left_out=["outputs"]) for place in "ab")
    assert one.startswith("source=run_1-") and one != other


def test_plain_values_are_strict_json() -> None:
    value = plain({"path": Path("a/b"), "pair": (1, float("inf")), 3: {"x": float("-inf")}, "set": {2, 1}})
    assert json.loads(json.dumps(value, allow_nan=False)) == {
        "path": "a/b", "pair": [1, None], "3": {"x": None}, "set": [1, 2]
    }  # fmt: skip
