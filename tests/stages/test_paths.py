"""Paths on the command line reach the settings to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from milr.errors import MilrError
from milr.settings.paths import PATHS, home, path_override

NAMES = [
    "data/données (1)", "a=b,c=d", "with blank", "[x]", "{y}", "it's", 'say "x"', "back\\slash", "C:\\birds\\", "#1",
    "$HOME", "50%", "a;b&c", "1e3", "007", "true", "2026-01-31", "x~y", "(choice)", "a'b\"c", "tab\there", "-x",
    "@home", "*", "日本",
]  # fmt: skip


def read(word: str) -> object:
    return OverridesParser.create().parse_override(word).value()


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_to_the_letter(key: str, name: str) -> None:
    assert read(path_override(f"{key}={name}", sweep=False)) == name


@pytest.mark.parametrize("name", ["a,b", "choice(a)", "'quoted'", "null", "${x"])
def test_a_path_that_is_there_is_never_read_as_hydras_own_form(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    assert read(path_override(f"source={name}", sweep=True)) == name


def test_several_paths_are_a_sweep_with_multirun_alone() -> None:
    parsed = OverridesParser.create().parse_override(path_override("source=run (1),b=2,'c,d'", sweep=True))
    assert [text.strip("'") for text in parsed.sweep_string_iterator()] == ["run (1)", "b=2", "c,d"]
    assert read(path_override("source=run (1),b=2", sweep=False)) == "run (1),b=2"


@pytest.mark.parametrize(
    "word", ["cache=null", "source=???", "dataset.root=${oc.env:HOME}/x", "source='a b'", "seed=1,2"]
)
def test_hydras_own_forms_and_other_keys_stay(word: str) -> None:
    assert path_override(word, sweep=False) == word


def test_a_tilde_at_the_beginning_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/some one")
    assert read(path_override("outputs=~/milr", sweep=False)) == "/home/some one/milr"
    assert read(path_override("dataset.root=~", sweep=False)) == "/home/some one"
    assert home("~nosuchuser/x") == "./~nosuchuser/x"  # a name in this folder


def test_names_in_a_list_of_images_may_hold_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a, b (1).jpg").touch()
    assert read(path_override("images=[x y.jpg,a, b (1).jpg,c=d[2].png]", sweep=False)) == [
        "x y.jpg", "a, b (1).jpg", "c=d[2].png",
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["outputs", "dataset.root", "backbone.weights", "source", "hydra.sweep.dir"])
def test_an_empty_path_is_refused(key: str) -> None:
    with pytest.raises(MilrError, match=f"{key}= is empty"):
        path_override(f"{key}=", sweep=False)
