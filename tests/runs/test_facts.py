from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from milr.runs import facts
from milr.runs.facts import git_state, host


def test_the_machine_is_told_without_its_name() -> None:
    entry = host("cpu")
    assert entry.keys() == {"system", "machine", "processor", "instructions", "cores", "threads", "device"}
    assert entry["threads"] == torch.get_num_threads() and entry["device"] == "cpu"
    assert isinstance(entry["cores"], int) and entry["cores"] >= 1
    assert os.uname().nodename not in [value for key, value in entry.items() if key != "system"]


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
