from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from milr.runs import facts
from milr.runs.facts import git_state, host, is_alive, process, start_of


def test_the_machine_is_told_without_its_name() -> None:
    entry = host("cpu")
    assert entry.keys() == {"system", "machine", "processor", "instructions", "cores", "threads", "device"}
    assert entry["threads"] == torch.get_num_threads() and entry["device"] == "cpu"
    assert isinstance(entry["cores"], int) and entry["cores"] >= 1
    assert os.uname().nodename not in [value for key, value in entry.items() if key != "system"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_a_process_is_told_from_one_that_is_gone_or_took_its_number() -> None:
    own = process()
    assert is_alive(own) is True
    assert is_alive({**own, "started": own["started"] - 1}) is False  # type: ignore[operator]
    code = "import json; from milr.runs.facts import process; print(json.dumps(process())); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin and child.stdout
    import json

    entry = json.loads(child.stdout.readline())
    assert is_alive(entry) is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but not reaped yet
    assert is_alive(entry) is False
    child.communicate()
    assert is_alive(entry) is False and start_of(child.pid) is None


@pytest.mark.parametrize("other", [{"boot": "another"}, {"namespace": "pid:[1]"}, {"started": None}])
def test_of_a_process_elsewhere_nothing_is_known(other: dict[str, object]) -> None:
    assert is_alive({**process(), **other}) is None
    assert is_alive(None) is None


def test_the_changes_that_no_commit_holds_have_a_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    file = tmp_path / "facts.py"
    file.write_text("a = 1\n")
    git("init", "-q")
    git("add", "facts.py")
    git("commit", "-qm", "first")
    monkeypatch.setattr(facts, "__file__", str(file))
    clean = git_state()
    assert clean and not clean["dirty"] and clean["changes_sha256"] is None
    file.write_text("a = 2\n")
    changed = git_state()
    file.write_text("a = 3\n")
    again = git_state()
    assert changed and again and changed["dirty"] and changed["commit"] == clean["commit"]
    assert changed["changes_sha256"] != again["changes_sha256"]
