"""Had the estimator converged? What a fit itself tells of its three phases, as a finding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milr.report.steps import fit_again
from milr.report.tables import NO, PART, YES, Finding, number, percent
from milr.runs.find import RunInfo
from milr.runs.manifests import read_config

STALLED = 0.02  # of the held-out bits: what the last quarter of a critic's steps may add to count as converged
SECOND = "The critic's second fit, to what the mask lets pass too,"


def convergence_finding(fit: RunInfo) -> Finding:
    """Had the critic, whose held-out bits bound the information from below, found what it could, and the others?"""
    title = "Had the estimator converged?"
    result = fit.manifest.get("result") or {}
    if not (critic := result.get("critic")):
        return Finding(title, ["The fit does not tell."])
    config = read_config(fit.folder)
    given = {key: (config.get(key) or {}).get("steps", 0) for key in ("critic", "milr")}
    pairs, mask = result.get("pairs"), result.get("mask")
    took, gain = ended_how(critic["steps"], given["critic"]), percent(critic["last_quarter_gain"])
    sentences = [
        "The critic, which estimates the bits, found most in pictures that it was not fitted to, "
        f"{number(critic['bits'], 2)} bits a place, at step {critic['step']}; it took {took}.",
        f"The last quarter of the steps added {gain} of that; {percent(STALLED)} or less counts as converged.",
    ]
    if mask:
        took = ended_how(mask["steps"], given["milr"])
        sentences.append(f"The mask's fit took {took}; its best was step {mask['step']}.")
    if pairs:
        took, gain = ended_how(pairs["steps"], given["critic"]), percent(pairs["last_quarter_gain"])
        sentences.append(f"{SECOND} took {took}; their last quarter added {gain}.")
    sentences += gap_sentence(result.get("information") or {})
    short = critic["last_quarter_gain"] > STALLED
    more = {"critic.steps": 2 * given["critic"]} if short or gains(pairs) else {}
    more |= {"milr.steps": 2 * given["milr"]} if mask and mask["steps"] >= given["milr"] else {}
    if short:
        sentences.append('So there is more to find: read the bits as "at least".')
    verdict = NO if short else PART if more else YES
    if not more:
        return Finding(title, sentences, verdict)
    lead = "A longer fit, a new run that this report stays beside:"
    return Finding(title, sentences, verdict, lead=lead, commands=fit_again(fit, more))


def ended_how(steps: int, most: int) -> str:
    """How many steps a fit took, and whether it ended by itself."""
    if steps >= most:
        return f"{steps} steps, all that it was given"
    return f"{steps} steps, of {most} at most: it ended where they had stalled"


def gains(pairs: Mapping[str, Any] | None) -> bool:
    """Whether the critic's second fit still found more in the end."""
    return bool(pairs) and pairs["last_quarter_gain"] > STALLED  # type: ignore[index]


def gap_sentence(information: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How much more is found in the pictures that the critic was fitted to than in those of other classes."""
    fitted, other = (information.get(split) for split in ("train", "novel"))
    if not fitted or not other:
        return []
    return [
        f"The critic finds {number(fitted['bits'], 2)} bits a place in {fitted['images']} pictures that it was fitted "
        f"to, {number(other['bits'], 2)} in {other['images']} of the novel split, each identified among "
        f"{2 ** other['cap_bits']:.0f}: in pictures that no fit has seen expect the latter."
    ]
