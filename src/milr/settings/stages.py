"""The first word after `milr`: the stages and the commands about runs, each with the line that says what it does."""

from __future__ import annotations

from difflib import get_close_matches

STAGES = {
    "train-protonet": "train a prototypical network, episode by episode",
    "test-protonet": "measure a trained network's accuracy over many seeded episodes",
    "fit-milr": "insert the MI-LR module into a trained, frozen network and fit it",
    "visualize": "draw the total, decision-related and redundant information of episodes or of your own pictures",
    "evaluate": "measure what the maps claim, beside controls: where they point, and what the decision loses without",
    "sanity": "refit with other seeds, wrong labels and forgotten layers: do the maps depend on what was learned?",
    "data": "make, download or check a data set, and say what it holds",
}
COMMANDS = {
    "runs": "a table of the runs under outputs/",
    "show": "one run: its settings, what it was made from, its result and files",
    "check": "try everything that a stage needs before hours are spent on it",
    "rerun": "repeat a run into a new folder and compare",
    "sweep-report": "a sweep of fits as a table, a grid of alpha and beta, and a contact sheet of maps",
}


def unknown_stage(word: str) -> str:
    """The line for a stage or a command that does not exist."""
    near = get_close_matches(word, [*STAGES, *COMMANDS], n=1, cutoff=0.4)
    end = f"did you mean {near[0]!r}?" if near else "`milr` lists them"
    return f"there is no stage {word!r}: {end}"


def spoken(stage: object) -> str:
    """A stage's name as the command line has it."""
    return str(stage).replace("_", "-")
