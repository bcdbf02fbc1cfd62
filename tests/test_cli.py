from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from milr import __version__
from milr.cli import main
from milr.command.words import hydra_words
from milr.settings.stages import STAGES, cli_name

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_milr_alone_lists_the_stages_one_line_each(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for stage, what in ((stage.cli_name, stage.help) for stage in STAGES.values()):
        assert sum(line.split() == [stage, *what.split()] for line in lines) == 1


def test_the_version_is_printed(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"milr {__version__}\n"


@pytest.mark.parametrize(
    ("word", "near"), [("fit-mlir", "fit-milr"), ("train", "train-protonet"), ("visualise", "visualize")]
)
def test_an_unknown_stage_suggests_the_nearest(word: str, near: str, capsys: Capture) -> None:
    assert main([word, "seed=1"]) == 2
    told = capsys.readouterr().err
    assert repr(word) in told and f"did you mean {near!r}" in told


@pytest.mark.parametrize("stage", list(map(cli_name, STAGES)))
def test_help_shows_keys_with_comments_and_groups(stage: str, capsys: Capture) -> None:
    assert main([stage, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: milr {stage}" in text
    assert "dataset=synthetic" in text and "of: cub, folder, funnybirds, synthetic" in text
    assert "seed: 0  # " in text and "root: data/synthetic  # " in text
    assert "hydra:" not in text and "defaults:" not in text and "?." not in text


def test_help_shows_the_options_that_are_chosen(capsys: Capture) -> None:
    assert main(["fit-milr", "dataset=cub", "layers=layer3_avgpool", "--help"]) == 0
    text = capsys.readouterr().out
    assert "root: data/CUB_200_2011" in text and "species:" not in text and "local: layer3" in text


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)


def test_help_imports_neither_torch_nor_hydra_and_is_quick() -> None:
    code = """
import sys
from milr.cli import main
assert main([]) == 0 and main(["fit-milr", "--help"]) == 0
heavy = {"torch", "hydra", "omegaconf", "numpy", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    answer = python(code)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    "stage", [pytest.param(name, marks=[pytest.mark.slow] * (name != "fit-milr")) for name in map(cli_name, STAGES)]
)
def test_settings_are_put_together_without_torch(stage: str) -> None:
    source = ["source=latest"] if STAGES[stage.replace("-", "_")].source else []
    answer = python(f"""
import sys
from milr.cli import main
assert main([{stage!r}, "--cfg", "job", *{source}]) == 0
assert "torch" not in sys.modules and "matplotlib" not in sys.modules
""")
    assert answer.returncode == 0, answer.stderr
    assert "dataset:" in answer.stdout


def test_a_wrong_value_is_refused_before_torch_is_imported() -> None:
    answer = python("""
import sys
from milr.cli import main
assert main(["evaluate", "source=/absent", "evaluate.percent=[20]"]) == 2
assert "torch" not in sys.modules
""")
    assert answer.returncode == 0, answer.stderr
    assert "evaluate.percent=[20.0]: two or more whole numbers from 1 to 99, rising" in answer.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fit-milr milr.alhpa=1", "no key 'milr.alhpa': did you mean 'milr.alpha'?"),
        ("fit-milr alpha=1", "no key 'alpha': did you mean 'milr.alpha'?"),
        ("train-protonet episodes=2", "no key 'episodes': did you mean 'train.episodes'?"),
        ("train-protonet cache=false", "cache=false: cache=null keeps nothing"),
        ("evaluate source=latest cache=none", "cache=none: cache=null keeps nothing"),
        ("train-protonet +train.foo=1", "no key 'train.foo'"),
        ("fit-milr +milr.alpha=1", "milr.alpha is there already: leave the + out"),
        ("fit-milr ~milr.alpha", "~milr.alpha: a key can be changed, not taken away"),
        ("fit-milr milr=3", "milr is a section: set one of its keys"),
        ("fit-milr layers.locl=layer1", "no key 'layers.locl': did you mean 'layers.local'?"),
        ("fit-milr bakbone=conv4", "no key 'bakbone': did you mean 'backbone'?"),
        ("train-protonet milr.alpha=1", "train-protonet has no key 'milr.alpha'; `milr train-protonet --help` lists"),
        ("train-protonet dataset=cub dataset.species=3", "no key 'dataset.species'"),
        (
            "train-protonet backbone=resnet11",
            "backbone=resnet11: choose one of conv4, import, resnet10, resnet12, resnet18",
        ),
        ("train-protonet backbone=conf4", "(did you mean 'conv4'?)"),
        ("train-protonet experiment=demoo", "(did you mean 'demo'?)"),
        ("train-protonet train.learning_rate=fast", "train.learning_rate=fast: the value must be a number"),
        ("train-protonet train.episodes=1.5", "train.episodes=1.5: the value must be a whole number"),
        ("train-protonet augmentation.flip=perhaps", "augmentation.flip=perhaps: the value must be true or false"),
        ("train-protonet train.freeze=conv1", "train.freeze=conv1: the value must be a list"),
        ("train-protonet train.freeze=[conv1", "cannot read 'train.freeze=[conv1'"),
        ("train-protonet seed", "cannot read 'seed': an override is key=value"),
        ("train-protonet seed=1,2", "seed=1,2: several values need --multirun"),
        ("train-protonet seed=range(3)", "seed=range(3): a range of values needs --multirun"),
        ("train-protonet episode.way=1", "episode.way=1: the value must be at least 2"),
        ("train-protonet dataset.crop=box", "choose one of none, bbox (did you mean 'bbox'?)"),
        ("train-protonet device=gpu", "device=gpu: choose one of auto, cpu, cuda"),
        ("train-protonet augmentation.hue=0.7", "the value must be from 0 to 0.5"),
        ("train-protonet seed=4294967296", "the value must be from 0 to 4294967295"),
        ("--multirun fit-milr", "there is no stage '--multirun'"),
        ("train-protonet --multirun seed=1,x", "seed=1,x: the value must be a whole number"),
        ("fit-milr", "source is missing: give source=latest or source=<run folder>"),
        ("fit-milr source=latest", "run `milr train-protonet` first"),
        ("visualize source=/no/such/run", "no folder /no/such/run"),
        ("visualize source=/no/such/run resume=latest", "visualize has no key 'resume': a stopped run of it is begun"),
        ("evaluate source=/no/such/run evaluate.seeds=3", "fits with several seeds are named by evaluate.sources"),
        ("train-protonet backbone=null", "backbone=null: choose one of conv4, import"),
        ("train-protonet backbone=5", "backbone=5: choose one of conv4, import"),
        ("train-protonet dataset=", "dataset=: choose one of cub, folder, funnybirds"),
        ("train-protonet dataset=[cub]", "dataset=[cub]: choose one of cub, folder, funnybirds"),
        (
            "train-protonet --multirun dataset=null,cub",
            "dataset=null,cub: choose one of cub, folder, funnybirds",
        ),
        ("train-protonet dataset=${nosuch}", "dataset=${nosuch}: choose one of cub, folder, funnybirds"),
        ("train-protonet dataset=???", "dataset=???: choose one of cub, folder, funnybirds"),
        ("train-protonet dataset.name=cub", "with the keys of another data set: choose it with dataset=cub"),
        ("train-protonet backbone.name=resnet9", "backbone.name=resnet9: choose one of conv4, resnet10"),
        ("train-protonet experiment={a:1}", "experiment={a:1}: choose one of closer_look"),
        ("train-protonet +dataset=cub", "dataset is there already: leave the + out"),
        ("fit-milr layers=null", "layers=null: choose one of auto, layer1_avgpool"),
        (
            "fit-milr source=x +layers.other=layer2",
            "no key 'layers.other': did you mean 'layers.output'?",
        ),
        ("visualize source=x images=['']", "images=['']: one of the paths is empty"),
        ("fit-milr milr=null", "milr is a section: set one of its keys, such as milr.alpha=<value>"),
        ("fit-milr milr=[1]", "milr is a section: set one of its keys, such as milr.alpha=<value>"),
        ("train-protonet train=${episode}", "train is a section: set one of its keys"),
        ("train-protonet ~dataset", "~dataset: a key can be changed, not taken away"),
        ("train-protonet ~hydra.callbacks.report", "a key can be changed, not taken away"),
        ("train-protonet hydra.callbacks.report=null", "hydra.callbacks is milr's own: leave it out"),
        ("train-protonet hydra=null", "Config group override must be a string or a list"),
        ("train-protonet hydra/launcher=null", "hydra/launcher=null: choose one of basic, joblib, local, slurm"),
        ("train-protonet hydra/sweeper=nosuch", "hydra/sweeper=nosuch: choose one of basic, optuna"),
        ("train-protonet hydra.searchpath=[/nosuch]", "hydra.searchpath: there is no folder /nosuch"),
        ("train-protonet =5", "cannot read '=5': an override is key=value"),
        ("train-protonet train.freeze[0]=a", "'train.freeze[0]' is no key"),
        ("train-protonet train.freeze=[[a]]", "a list within the list"),
        ("train-protonet train.freeze=[null]", "train.freeze[0]: the value must be a list of which each entry is text"),
        ("train-protonet train.episodes.x=1", "no key 'train.episodes.x': did you mean 'train.episodes'?"),
        ("train-protonet train.learning_rate=inf", "train.learning_rate=inf: the value must be a finite number"),
        ("train-protonet train.rotate=5", "train.rotate=5: the value must be true or false"),
        ("train-protonet -m seed=1,2 seed=3,4", "seed is given twice, seed=1,2 and seed=3,4: leave one out"),
        ("train-protonet -m seed=1,2 seed=3", "seed is given twice, seed=1,2 and seed=3: leave one out"),
        ("train-protonet seed=${nosuch}", "seed=${nosuch}: Interpolation key 'nosuch' not found"),
        ("train-protonet dataset.root=${oc.env:NOSUCH}", "Environment variable 'NOSUCH' not found"),
        ("train-protonet outputs=", "outputs= is empty: give outputs=<path>"),
        ("train-protonet --config-dir /nosuch", "--config-dir '/nosuch': there is no such folder"),
        ("train-protonet --config-dir", "--config-dir '': there is no such folder"),
        ("train-protonet --config-path x", "--config-path: a stage's configs are milr's own"),
        ("train-protonet --config-name nosuch", "Cannot find primary config 'nosuch'"),
        ("train-protonet --config-name data", "the config is not one of train-protonet: leave --config-name out"),
        ("train-protonet --experimental-rerun nosuch", "`milr rerun RUN` repeats one"),
        ("train-protonet --seed=5", "has no flag '--seed': a key is given without dashes, seed=<value>"),
        ("train-protonet --multrun seed=5", "has no flag '--multrun': did you mean '--multirun'?"),
        ("train-protonet --cfg nosuch", "--cfg nosuch: choose one of job, hydra, all"),
        ("train-protonet --resolve", "--resolve and --package say how --cfg shows the settings: add --cfg job"),
        ("train-protonet --run --multirun", "Only one of --run, --multirun"),
        ("train-protonet -m seed=interval(0,2)", "interval() needs Optuna's sweeper: pip install 'milr[optuna]'"),
        ("train-protonet -m seed=range(3,3)", "nothing to sweep over: a range or a pattern among seed=range(3,3)"),
        ("train-protonet -m backbone=glob(x*)", "there is nothing to sweep over"),
        ("train-protonet -m seed=range(0,9,0)", "range() arg 3 must not be zero"),
        ("train-protonet -m hydra.sweeper.max_batch_size=0 seed=1,2", "Hydra cannot use what it was given"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    line: str, words: str, capsys: Capture, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert captured.out == ""
    assert not [run for run in os.listdir(tmp_path) if run != "outputs"]


def test_an_error_is_one_line_whatever_it_quotes(
    capsys: Capture, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["show", "no\nrun", "outputs=."]) == 2
    captured = capsys.readouterr()
    assert "no\\nrun" in captured.err and captured.err.count("\n") == 1


def test_the_process_is_as_before_afterwards(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    argv, environment, folder = list(sys.argv), dict(os.environ), os.getcwd()
    handlers = list(logging.getLogger().handlers)
    assert main(["train-protonet", "seed=x"]) == 2
    assert main(["train-protonet", "--info"]) == 0
    assert logging.getLogger().handlers == handlers
    assert (sys.argv, dict(os.environ), os.getcwd()) == (argv, environment, folder)


def test_a_flag_may_stand_anywhere(capsys: Capture) -> None:
    for line in ("--cfg job seed=4 episode.way=3", "seed=4 --cfg job episode.way=3", "seed=4 episode.way=3 --cfg job"):
        assert main(["train-protonet", *line.split()]) == 0
        text = capsys.readouterr().out
        assert "seed: 4\n" in text and "way: 3\n" in text


def test_a_user_who_asks_for_tracebacks_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="seed"):
        main(["train-protonet", "seed=x"])


def test_from_a_working_folder_that_is_gone_nothing_is_begun(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for line in (
        "runs",
        "show latest",
        "train-protonet seed=1",
        "check train-protonet",
        "sweep-report x",
        "-sc query=bash",
    ):
        assert main(line.split()) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: the working folder cannot be read") and captured.err.count("\n") == 1
    for line in ("", "--version", "fit-milr --help", "runs --help"):
        assert main(line.split()) == 0 and capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["train-protonet", "train-protonet --multirun seed=0,1", "check train-protonet", "data"]
)
def test_a_run_folder_of_hydras_is_refused_and_not_made(
    line: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*line.split(), "hydra.run.dir=runs/mine"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: hydra.run.dir=runs/mine: ") and "outputs=" in captured.err
    assert captured.out == "" and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_info_and_its_kind_may_stand_between_overrides(capsys: Capture) -> None:
    words = ["seed=4", "episode.way=3"]
    for line in ("--info config seed=4 episode.way=3", "seed=4 --info=config episode.way=3", "seed=4 -i config"):
        given = hydra_words(STAGES["train_protonet"], line.split())
        assert given == ["--info=config", *words[: line.count("=3") + 1]]
    for line in ("seed=4 episode.way=3 --info", "--info seed=4 episode.way=3", "seed=4 -i episode.way=3"):
        given = hydra_words(STAGES["train_protonet"], line.split())
        assert given == ["--info=all", *words]  # no override is its value
    for line, shown in (("seed=4 -i config", "pkg://milr.conf"), ("seed=4 -i episode.way=3", "seed: 4\n")):
        assert main(["train-protonet", *line.split()]) == 0
        assert shown in capsys.readouterr().out
    assert main(["train-protonet", "seed=4", "--hydra-help"]) == 0
    assert "--multirun" in capsys.readouterr().out
    assert main(["train-protonet", "--package", "train", "train.episodes=7", "-c", "job"]) == 0
    assert capsys.readouterr().out.startswith("# @package train\nepisodes: 7\n")


def test_optuna_that_is_not_installed_is_named_with_its_extra() -> None:
    from hydra.errors import MissingConfigException

    from milr.command.mistakes import explain

    error = MissingConfigException("Could not find it", "hydra/sweeper/optuna")
    line = explain(error, "fit_milr", ["hydra/sweeper=optuna"])
    assert "optuna is not installed" in line and "pip install 'milr[optuna]'" in line


def test_of_a_key_that_is_given_twice_the_last_value_counts(capsys: Capture) -> None:
    assert main(["train-protonet", "seed=1", "dataset=cub", "seed=2", "dataset=folder", "--cfg", "job"]) == 0
    text = capsys.readouterr().out
    assert "seed: 2\n" in text and "  name: folder\n" in text


def test_a_display_of_matplotlibs_that_there_is_not_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    assert python("import matplotlib").returncode == 1
    assert python("from milr.cli import main; main(['--version']); import matplotlib").returncode == 0
