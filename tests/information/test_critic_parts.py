"""What the critic may have beside an MLP and a linear map: a network of z, rows of the places, a second score."""

import math

import pytest
import torch
from torch import Tensor

from milr.information.critic import Critic, CriticShape
from milr.information.statistics import Standardise


def critic(**parts: float) -> Critic:
    torch.manual_seed(0)
    local, z = (Standardise(torch.zeros(size), torch.ones(size)) for size in (3, 4))
    return Critic(local, z, (2, 2), CriticShape(width=8, dimension=6, **parts))  # type: ignore[arg-type]


def data() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 4, 3), torch.randn(5, 4)


def test_rows_of_the_places_change_nothing_at_first_and_then_their_own_place_alone() -> None:
    plain, rows = critic(), critic(place_table=True)
    rows.load_state_dict(plain.state_dict(), strict=False)
    local, _ = data()
    before = plain.project_locations(local)
    assert torch.allclose(rows.project_locations(local), before)
    assert rows.table is not None
    with torch.no_grad():
        rows.table.weight[2] += 1.0
    after = rows.project_locations(local)
    assert torch.allclose(after[:, [0, 1, 3]], before[:, [0, 1, 3]]) and not torch.allclose(after[:, 2], before[:, 2])
    some = torch.tensor([2, 0])
    assert torch.allclose(rows.project_locations(local[:, some], some), after[:, some], atol=1e-6)
    assert critic(place_table=True, place=False).table is None


def test_a_network_of_the_representation_is_added_to_the_linear_map() -> None:
    linear, bent = critic(), critic(representation_width=16)
    bent.load_state_dict(linear.state_dict(), strict=False)
    _, z = data()
    assert bent.bend is not None
    assert torch.allclose(bent.project_representation(z), linear.project_representation(z) + bent.bend(z))
    steps = [linear.project_representation(scale * z) for scale in (0.0, 1.0, 2.0)]
    assert torch.allclose(steps[1] - steps[0], steps[2] - steps[1], atol=1e-6)  # without it, linear in z


def test_dropout_leaves_the_same_part_of_z_out_on_both_ways() -> None:
    bent = critic(representation_width=16, dropout=0.9).train()
    zeros = bent.eval().project_representation(torch.zeros(1, 4))
    bent.dropout.generator = torch.Generator().manual_seed(0)
    projected = bent.train().project_representation(torch.ones(200, 4))
    left_out = (projected - zeros).abs().amax(1) < 1e-6
    assert left_out.float().mean() == pytest.approx(0.9**4, abs=0.12)


def test_the_second_score_is_of_pairs_that_belong_together_and_0_at_first() -> None:
    plain, two = critic(), critic(second=True)
    local, z = data()
    both = two.project_locations(local), two.project_representation(z)
    assert plain.second_scores(*both) is None
    scores = two.second_scores(*both)
    assert scores is not None and scores.shape == (5, 4) and not scores.any()
    assert two.second is not None
    with torch.no_grad():
        two.second[2].weight.normal_()
        two.second[2].bias.normal_()
    head = two.second(both[0][3, 1] * math.sqrt(6))
    expected = head[:-1] @ both[1][3] / math.sqrt(6) + head[-1]
    scores = two.second_scores(*both)
    assert scores is not None and torch.allclose(scores[3, 1], expected, atol=1e-5)
