"""Another judge and other fills: what it learns and leaves, and when maps count as standing in the same order."""

from __future__ import annotations

import pytest
import torch
from toy import batch, pictures, prepared, trained_network

from milr.baselines.methods import Methods
from milr.checks.agreement import ALL, Judged, Way, agreement_rows, judged, same_first_places
from milr.checks.judge import LEAST, another_judge, random_places
from milr.checks.sanity import SanityRow
from milr.decisions.decision_kinds import classify
from milr.networks.freezing import weights_sha256
from milr.networks.layers import LayerPair


@pytest.fixture(scope="module")
def judge() -> LayerPair:
    return another_judge(prepared(), batch, 60, 1e-2, 0)


def test_what_lies_above_the_local_layer_learns_and_the_network_itself_stays(judge: LayerPair) -> None:
    before = weights_sha256(trained_network())
    judge = another_judge(prepared(), batch, 1, 1e-3, 0)
    own, learned = trained_network().state_dict(), judge.network.state_dict()
    changed = {name.split(".")[0] for name, value in own.items() if not torch.equal(value, learned[name])}
    assert changed == {"layer2", "fc"} and weights_sha256(trained_network()) == before
    assert not any("running" in name for name, value in own.items() if not torch.equal(value, learned[name]))


def test_the_judge_decides_better_where_places_are_missing(judge: LayerPair) -> None:
    images, labels, _ = pictures(100, seed=30)
    explainer = prepared()
    ways = {
        name: Way(layers, lambda records: classify(labels), "noise")
        for name, layers in (("network", explainer.layers), ("judge", judge))
    }
    found = judged(Methods(explainer, ()), ways, [(0, images, ())], [0.05, 0.1])
    assert found["judge"].kept.mean() > found["network"].kept.mean() + 0.05
    assert found["judge"].untouched.mean() > 0.9
    assert found["network"].areas.keys() == found["judge"].areas.keys() >= {"decision", "random"}
    assert all(len(areas) == len(found["judge"].episodes) == 100 for areas in found["judge"].areas.values())


def test_the_missing_places_are_any_share_in_any_shape_and_the_same_for_one_generator() -> None:
    shares = [
        random_places((3, 10, 10), torch.Generator().manual_seed(seed)).double().mean((1, 2)) for seed in range(60)
    ]
    assert all(len(share.unique()) == 1 for share in shares)
    means = torch.stack(shares)[:, 0]
    assert LEAST <= means.min() < 0.15 and 0.85 < means.max() <= 1 - LEAST + 0.01
    assert torch.equal(*(random_places((2, 5, 5), torch.Generator().manual_seed(1)) for _ in range(2)))


def view(**means: float) -> Judged:
    noise = torch.randn(40, generator=torch.Generator().manual_seed(0)).double() * 0.01
    zeros = torch.zeros(40)
    return Judged({name: mean + noise for name, mean in means.items()}, zeros, zeros, torch.arange(40) // 20)


def found(rows: list[SanityRow], variant: str, map: str, measure: str) -> SanityRow:
    (row,) = [row for row in rows if (row.variant, row.map, row.measure) == (variant, map, measure)]
    return row


def test_places_and_their_agreement_are_told() -> None:
    network = view(decision=0.5, iba=0.4, centre=0.3, random=0.0)
    rows = agreement_rows("judge", {"network": network, "judge": view(decision=0.45, iba=0.2, centre=0.3, random=0.1)})
    assert [found(rows, "judge", map, "place").value for map in network.areas] == [1, 3, 2, 4]
    gap = found(rows, "network - judge", "iba", "area")
    assert gap.value == pytest.approx(0.2) and gap.low == pytest.approx(gap.high) and gap.n == 40
    assert found(rows, "network - judge", "random", "accuracy, kept").value == 0
    alike = found(rows, "network and judge", ALL, "rank correlation")
    assert (alike.value, alike.low, alike.high) == pytest.approx((0.8, 0.8, 0.8))
    assert (found(rows, "network and judge", ALL, "same first places")).value == 1
    same = agreement_rows("fill", {"noise": network, "mean": network, "blur": network})
    assert found(same, "noise and blur", ALL, "rank correlation").value == pytest.approx(1)
    row = found(same, "noise and mean", ALL, "same first places")
    assert (row.value, row.wanted) == (3, "3")


def test_places_below_the_third_may_change() -> None:
    one, other = (
        dict(zip("abcde", torch.tensor(means)[:, None], strict=True))
        for means in ([5.0, 4, 3, 2, 1], [5.0, 4, 3, 1, 2])
    )
    assert same_first_places(one, other) == 3 and same_first_places(one, {**other, "a": torch.zeros(1)}) == 0
