from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
import shown_fit as shown
import torch
from made_runs import make_run

from milr.cli import main
from milr.data.pictures import Pictures
from milr.data.records import Record
from milr.explanation.maps import KINDS
from milr.sweeps.fits import FIELDS

Capture = pytest.CaptureFixture[str]


class Elements(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [own for name, own in self.found if name == tag and wanted.items() <= own.items()]


def page(outputs: Path, *words: str) -> Elements:
    path = outputs / "report.html"
    assert main(["report", *words, f"outputs={outputs}", "--to", str(path)]) == 0
    return Elements(path.read_text(encoding="utf-8"))


@pytest.mark.usefixtures("without_vega")
def test_a_page_holds_everything_itself(outputs: Path) -> None:
    shown.fitted(outputs, stages=("evaluate", "sanity"))
    elements = page(outputs, "fit")
    sources = [own[key] or "" for _, own in elements.found for key in ("src", "href") if key in own]
    assert sources and all(source.startswith(("data:image/jpeg;base64,", "#")) for source in sources)
    assert not elements.of("link") and "@import" not in elements.text
    assert len(elements.of("canvas")) == 6 * 4 and all(own["aria-label"] for own in elements.of("canvas"))
    assert all(own.get("alt") for own in elements.of("img"))


@pytest.mark.usefixtures("without_vega")
def test_a_card_says_whether_its_decision_survives_the_mask(outputs: Path) -> None:
    shown.fitted(outputs)
    text = re.sub(r"\s+", " ", re.sub("<.*?>", " ", page(outputs, "fit").text))
    told = re.findall("Through the mask (still|taken for) (.*?) Total ", text)
    assert told == [
        ("still", "Tree Creeper ✓ right"),
        ("taken for", "Tree Creeper ✗ wrong , in 75 % of the draws of its noise"),
        ("still", "Tree Creeper ✓ right"),
        ("taken for", "Hedge &lt;Sparrow&gt; ✓ right"),  # and wrongly for a tree creeper without the mask
    ]
    assert "3 of 4 decisions right; 2 of 4 the same through the mask" in text


@pytest.mark.usefixtures("without_vega")
def test_what_is_not_measured_names_the_commands_to_the_end(outputs: Path) -> None:
    folders = [shown.fitted(outputs), shown.fitted(outputs, "other")]
    text = page(outputs, "fit", "other").text
    assert f"cap of {shown.CAP:.2f} (saturation" in text
    assert "each picture is identified among 32, itself and a bank of training pictures" in text  # 2 ** 5
    to = outputs / "report.html"
    again = f"milr report {folders[0]} {folders[1]} --to {to}"
    assert f"<code>milr sanity source={folders[1]} outputs={outputs}\n{again}</code>" in text


@pytest.mark.usefixtures("without_vega")
def test_a_report_lies_in_the_outputs_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit = shown.fitted(tmp_path / "outputs" / "demo")
    assert main(["report", "latest"]) == 0 and main(["report", str(fit), "outputs=outputs/demo"]) == 0
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.html")] == [Path("outputs/demo/reports/fit.html")]


@pytest.mark.usefixtures("without_vega")
def test_the_printed_commands_lead_to_results_that_the_report_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the printed command of calibrate makes, in the outputs that it names, is in the report that is printed."""
    monkeypatch.chdir(tmp_path)
    fit = shown.fitted(tmp_path / "outputs" / "demo")
    report = page(tmp_path / "outputs" / "demo", str(fit)).text
    calibrate, again = re.findall(r"<code>(milr calibrate.*?)\n(milr report.*?)</code>", report)[0]
    shown.calibrate(Path(calibrate.partition("outputs=")[2]))
    assert main(again.split()[1:]) == 0
    assert "0.95 bits for each true bit" in (tmp_path / "outputs" / "demo" / "report.html").read_text("utf-8")


@pytest.mark.usefixtures("without_vega")
def test_what_is_redundant_is_told_by_the_fits_reading_and_beside_what_was_tested(outputs: Path) -> None:
    shown.fitted(outputs, stages=("evaluate",))
    shown.fitted(outputs, "literal", **{"milr.redundancy": "representation"})
    text = page(outputs, "fit").text
    occluded, representation = "finds more of a place behind the mask", "the masked representation tells more"
    assert occluded in text and representation not in text
    assert '<a href="#removal-1">Can what the redundant map marks be taken away?</a>' in text
    assert Elements(text).of("div", id="removal-1")
    text = page(outputs, "literal").text
    assert representation in text and occluded not in text


@pytest.mark.usefixtures("without_vega")
def test_the_accuracies_of_one_network_are_told_apart(outputs: Path) -> None:
    fit = shown.fitted(outputs, stages=("evaluate",))
    network = outputs / "train_protonet" / "network"
    result = {"accuracy": 0.816, "interval": 0.02, "episodes": 200}
    make_run(outputs, "test_protonet", "tested", network, result=result, **shown.FACTS)
    text = re.sub("<.*?>", "", page(outputs, str(fit)).text)
    assert (
        "0.816 ± 0.020 in 200 episodes of the novel split (test-protonet), the one to quote; 0.800 on the fit" in text
    )
    assert "1.000 of 20 decisions of milr evaluate; 3 of 4 decisions about the pictures above." in text
    assert text.count("test-protonet") >= 2  # among the runs too


@pytest.mark.usefixtures("without_vega")
def test_a_title_says_what_the_report_is_about(outputs: Path) -> None:
    shown.fitted(outputs)
    assert "<h1>Drawn birds, conv4, 5-way 1-shot <small>fit</small></h1>" in page(outputs, "fit").text


@pytest.mark.usefixtures("without_vega")
def test_names_are_text_and_no_markup(outputs: Path) -> None:
    shown.fitted(outputs)
    elements = page(outputs, "fit")
    assert elements.of("article", **{"data-class": "Hedge <Sparrow>"}) and not elements.of("sparrow")


@pytest.mark.usefixtures("without_vega")
def test_two_runs_stand_side_by_side(outputs: Path) -> None:
    shown.fitted(outputs)
    shown.fitted(outputs, "other", **{"milr.beta": 9.0})
    elements = page(outputs, "fit", "other")
    assert len(elements.of("article")) == 6
    assert [len(elements.of("div", **{"class": "strip", "data-run": name})) for name in ("fit", "other")] == [6, 6]
    assert re.search(r"milr.beta</th><td>[\d.]+</td><td>9.0", elements.text)
    assert "milr.alpha</th>" not in elements.text.partition("history")[0]


@pytest.mark.usefixtures("without_vega")
def test_a_sweep_opens_the_maps_of_a_cell(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_run(outputs, "train_protonet", "network", **shown.FACTS)
    sweep = outputs / "fit_milr_sweeps" / "alpha"
    sweep.mkdir(parents=True)
    for beta in (1.0, 3.0):
        result = {"validation": dict.fromkeys(FIELDS, 0.5)}
        settings = {"milr.beta": beta, "episode.way": 2}
        fit = make_run(outputs, "fit_milr", f"beta={beta:g}", network, result=result, settings=settings, **shown.FACTS)
        fit.rename(sweep / fit.name)
    records = tuple(Record(n, Path(f"{n}.jpg"), n % 2 + 1, shown.CLASSES[n % 2]) for n in range(4))
    pictures = Pictures(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), torch.arange(4) % 2, records)
    monkeypatch.setattr("milr.report.sweeps.episode_of", lambda fit, number: pictures)
    monkeypatch.setattr(
        "milr.report.sweeps.maps_of", lambda fit, pictures, device: shown.some_maps(4, seed=int(fit.pair[1]))
    )
    elements = page(outputs, str(sweep))
    assert [own["data-run"] for own in elements.of("button") if "data-run" in own] == ["beta=1", "beta=3"]
    strips = elements.of("div", **{"class": "strip"})
    assert [own["data-run"] for own in strips if "hidden" in own] == ["beta=3"] * 4 and len(strips) == 8


def test_what_is_missing_is_named(outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("milr.report.command.find_spec", lambda name: None if name == "altair" else find_spec(name))
    assert main(["report", "latest", f"outputs={outputs}"]) == 2
    assert capsys.readouterr().err == "error: milr report needs altair: pip install 'milr[report]'\n"


def test_no_run_is_an_error_in_one_line(outputs: Path, capsys: Capture) -> None:
    outputs.mkdir()
    for words, message in (
        ([], "name a run"),
        (["latest"], "holds no finished run of fit-milr"),
        (["x"], "there is no run 'x'"),
    ):
        assert main(["report", *words, f"outputs={outputs}"]) == 2
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1


def test_the_facts_that_are_sorted_by_are_those_of_a_strip() -> None:
    """Each choice of the page's lists has its value among a strip's facts, or is one that the program knows itself."""
    folder = Path(__file__).parents[2] / "src" / "milr" / "report" / "templates"
    form = (folder / "_pictures.html").read_text(encoding="utf-8")
    lists = dict(re.findall(r'<select id="(sort|quantity)">(.*?)</select>', form, re.DOTALL))
    values = {value for each in lists.values() for value in re.findall(r'option value="(\w+)"', each)}
    own = {"number", "class", "right"}
    assert "saturation" not in lists["sort"]  # of one cap for all pictures, it is the order of the total
    assert values - own == {*KINDS, "saturation", "disagreement"}
