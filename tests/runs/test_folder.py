from __future__ import annotations

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milr.errors import MilrError
from milr.runs.folder import MANIFEST, make_folder, open_run, plain, timestamp
from milr.sweeps.names import sweep_name


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


def test_two_processes_that_start_at_the_same_moment_get_two_folders(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from milr.runs.folder import make_folder\n"
        "print(make_folder(Path(sys.argv[1]), '2026-01-01_00-00-00').name)"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert {process.communicate(timeout=300)[0].strip() for process in both} == {
        "2026-01-01_00-00-00", "2026-01-01_00-00-00-2"
    }  # fmt: skip


def test_a_clock_set_back_changes_neither_the_duration_nor_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        hours = 12

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2026, 1, 1, cls.hours, 30, 0, tzinfo=timezone.utc)

    monkeypatch.setattr("milr.runs.folder.datetime", Clock)
    with open_run(tmp_path, "train_protonet", timestamp(), {}) as run:
        Clock.hours = 2
    manifest = manifest_of(run.folder)
    assert 0 <= manifest["seconds"] < 60
    assert datetime.fromisoformat(manifest["created"]) <= datetime.fromisoformat(manifest["finished"])
    names = [run.folder.name]
    for hours in (12, 2, 12):  # the same second comes again
        Clock.hours = hours
        with open_run(tmp_path, "train_protonet", timestamp(), {}) as run:
            names.append(run.folder.name)
    noon, night = "2026-01-01_12-30-00", "2026-01-01_02-30-00"
    assert names == [noon, f"{noon}-2", night, f"{noon}-3"]


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


KEYS = st.sampled_from(["milr.alpha", "milr.beta", "train.freeze", "layers", "+x", "~milr", "source"])
VALUES = st.one_of(
    st.sampled_from(["1", "0.1", "1e-3", "True", "true", "null", "a", "A", "[a,b]", "'a,milr.beta=1'", "Größe"]),
    st.text(max_size=8),
    st.text("ab-0123456789", min_size=9, max_size=200),
)
OVERRIDES = st.lists(st.tuples(KEYS, VALUES).map("=".join), max_size=4)


@pytest.mark.slow
@given(OVERRIDES, OVERRIDES)
def test_two_sets_of_overrides_never_share_a_name(one: list[str], other: list[str]) -> None:
    names = [sweep_name(overrides, left_out=()).lower() for overrides in (one, other)]  # some disks see no capitals
    assert (names[0] == names[1]) == (sorted(one) == sorted(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a=1", "b=2"], ["a=1,b=2"]),
        (["a=x"], ["a=X"]),
        (["a=1 "], ["a=1"]),
        (["a=1."], ["a=1"]),
        (["a='1'"], ["a=1"]),
        (["a=" + "1" * 200], ["a=" + "1" * 201]),
        ([], ["defaults"]),
        (["a=x/1"], [sweep_name(["a=x/1"])]),
        (["source=/runs/one/x"], ["source=/runs/two/x"]),
    ],
)
def test_names_that_look_alike_are_kept_apart(one: list[str], other: list[str]) -> None:
    assert len({sweep_name(overrides, left_out=()).lower() for overrides in (one, other)}) == 2


def test_a_sweeps_name_is_the_same_in_every_process() -> None:
    assert sweep_name(["milr.alpha=1", "layers=[a,b]"]) == "layers=_a,b_,milr.alpha=1-9ca55ac16e"


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
