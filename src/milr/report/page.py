"""The page: everything that was gathered, put into the template."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from milr import __version__
from milr.explanation.maps import KINDS
from milr.figures.columns import readable
from milr.figures.palette import DIVERGING, EVEN
from milr.files import write_atomically
from milr.report.accuracies import accuracies
from milr.report.charts import compared
from milr.report.check_charts import along_beta
from milr.report.colours import stops
from milr.report.drawn import Read, read_pictures
from milr.report.gathering import Gathered, Subject
from milr.report.history import Step, differing, duration, steps_of
from milr.report.naming import readings_of, title_of
from milr.report.pictures import SIGNED, Card, Scale, Strip, cards_of, scales_of
from milr.report.sweeps import Sweep
from milr.report.tables import Chart, Finding, Table, number, percent
from milr.report.words import WORDS, anchor, linked
from milr.report.worth import REMOVAL, findings, key_results
from milr.runs.find import read_run

MANY = 48  # pictures: from here on thumbnails come first


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    title: str
    cards: Sequence[Card]
    scales: Mapping[str, Scale]  # of the colours, over all pictures
    worth: Mapping[str, Sequence[Finding]]  # name of a run -> what its maps are worth
    history: Mapping[str, Sequence[Step]]
    readings: Sequence[str] = ()  # of what is redundant (milr.redundancy), by the fits
    stamp: str = ""  # the runs' names
    accuracies: Mapping[str, str] = field(default_factory=dict)  # name of a run -> those of its network
    comparison: Sequence[Table] = ()
    compared: Chart | None = None
    sweep: Sweep | None = None
    along: Chart | None = None

    @property
    def runs(self) -> list[str]:
        """The runs whose maps are shown."""
        return list(dict.fromkeys(strip.run for card in self.cards for strip in card.strips))

    @property
    def classes(self) -> list[str]:
        """The pictures' classes."""
        return sorted({card.name for card in self.cards})

    @property
    def summary(self) -> list[str]:
        """What each run came to, in a sentence."""
        if self.sweep:
            return []
        sentences = {run: sentence_of(run, self.cards) for run in self.runs}
        return [f"{run}: {text}" for run, text in sentences.items()] if len(sentences) > 1 else [*sentences.values()]

    @property
    def removals(self) -> list[tuple[str, Finding]]:
        """Of each run, what was found where its redundant places were removed."""
        return [(run, each) for run, found in self.worth.items() for each in found if each.key == REMOVAL]

    @property
    def has_charts(self) -> bool:
        """Whether there is anything for Vega to draw."""
        charts = [chart for found in self.worth.values() for finding in found for chart in finding.charts]
        return bool(charts or self.compared or self.along)


def page_of_runs(gathered: Gathered, to: str | None = None) -> Page:
    """A page about one fit or several; to: the file that was asked for."""
    subjects = {subject.name: subject for subject in gathered.subjects}
    fits = {name: subject.fit for name, subject in subjects.items()}
    reads = {name: read_pictures(subject.followers["visualize"].folder) for name, subject in subjects.items()}
    again = shlex.join(["milr", "report", *(str(fit.folder) for fit in fits.values()), *(["--to", to] if to else [])])
    worth = {name: findings(s.fit, s.followers, gathered.calibration, again) for name, s in subjects.items()}
    history = {name: steps_of(subject) for name, subject in subjects.items()}
    cards, several = cards_of(reads), dict[str, Any]()
    if len(subjects) > 1:
        several["comparison"] = [bits_of_runs([*subjects], cards), differing(fits)]
        measured = {
            n: key_results(s.followers["evaluate"].folder) for n, s in subjects.items() if "evaluate" in s.followers
        }
        several["compared"] = compared(measured) if measured else None
    said = {name: accuracies(subject, strips_of(name, cards)) for name, subject in subjects.items()}
    title, readings = title_of([*fits.values()]), readings_of([*fits.values()])
    stamp = ", ".join(subjects)
    return Page(title, cards, scales(reads), worth, history, readings, stamp, said, **several)


def page_of_sweep(sweep: Sweep) -> Page:
    """A page about a sweep."""
    fits = [read_run(fit.run.folder) for fit in sweep.fits if fit.run]
    history = {sweep.fits[0].name: steps_of(Subject(fits[0], {}, sweep.fits[0].name))}
    cards, along = cards_of(sweep.pictures), along_beta(sweep.points)
    title, stamp = f"Sweep: {title_of(fits)}", sweep.folder.name
    return Page(title, cards, scales(sweep.pictures), {}, history, readings_of(fits), stamp, sweep=sweep, along=along)


def sentence_of(run: str, cards: Sequence[Card]) -> str:
    """How many pictures and decisions a run has, and its bits."""
    strips = strips_of(run, cards)
    right = [strip.right for strip in strips if strip.right is not None]
    means, cap = mean_bits(strips), strips[0].cap
    decided = f"{sum(right)} of {len(right)} decisions right; " if right else ""
    if masked := [strip.survives for strip in strips if strip.masked]:
        decided += f"{sum(masked)} of {len(masked)} the same through the mask; "
    return (
        f"{len(strips)} pictures below; {decided}on average {number(means['total'], 2)} bits a place in total, "
        f"of a cap of {number(cap, 2)} (saturation {percent(means['total'] / cap)}), {number(means['redundant'], 2)} "
        f"of them redundant. Of the features themselves {number(means['decision'], 2)} bits a place pass the mask, "
        f"on a scale of their own. The cap: each picture is identified among {2**cap:.0f}, itself and a bank of "
        "training pictures."
    )


def strips_of(run: str, cards: Sequence[Card]) -> list[Strip]:
    """What a run says of its pictures."""
    return [strip for card in cards for strip in card.strips if strip.run == run]


def mean_bits(strips: Sequence[Strip]) -> dict[str, float]:
    """Bits a place of each kind, over the pictures."""
    return {kind: sum(strip.bits[kind] for strip in strips) / len(strips) for kind in strips[0].bits}


def scales(reads: Mapping[str, Sequence[Read]]) -> dict[str, Scale]:
    """One scale a kind for all pictures of all runs: colours of two runs can be compared."""
    return scales_of([read for own in reads.values() for read in own])


def bits_of_runs(runs: Sequence[str], cards: Sequence[Card]) -> Table:
    """Mean bits a place of each run's pictures."""
    rows = []
    for run in runs:
        strips = strips_of(run, cards)
        means = mean_bits(strips)
        bits = [number(means[kind]) for kind in KINDS]
        rows.append([run, str(len(strips)), *bits, number(means["total"] / strips[0].cap)])
    return Table("Mean bits a place over the pictures above", ["run", "pictures", *KINDS, "saturation"], rows)


def write_page(page: Page, path: Path) -> None:
    """Writes the page, whole or not at all."""
    environment = Environment(
        loader=PackageLoader("milr.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "inline": inline,
        "readable": readable,
        "duration": duration,
        "linked": linked,
        "anchor": anchor,
    }
    loader = environment.loader
    assert loader
    text = {name: Markup(loader.get_source(environment, name)[0]) for name in ("report.css", "viewer.js")}
    html = environment.get_template("page.html").render(
        page=page,
        style=text["report.css"],
        viewer=text["viewer.js"],
        vega=script(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")),
        colours={kind: stops(DIVERGING if kind == SIGNED else EVEN) for kind in KINDS},
        many=MANY,
        words=WORDS,
        version=__version__,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(html.encode()))


def script(code: str) -> Markup:
    """A program as it may stand within a page: nothing in it ends the element that holds it."""
    return Markup(code.replace("</script", r"<\/script").replace("<!--", r"<\!--"))


def inline(value: Any) -> Markup:
    """A value as JSON within a page."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", r"\u003c"))
