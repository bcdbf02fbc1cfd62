"""The example in the docstring of every public name runs, and gives what it says."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import milr


@pytest.mark.parametrize("name", milr.__all__)
def test_the_example_of_a_public_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestFinder().find(getattr(milr, name), name, globs={})
    assert any(test.name == name and test.examples for test in examples), f"the docstring of milr.{name} has no example"
    output: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in examples:
        runner.run(test, out=output.append)
    assert runner.failures == 0, "".join(output)
