"""The quoted estimate is eq. 2 and 3 on the images given, and nothing else."""

import math

import pytest
import torch
from toy import pictures, prepared

from milr.evaluation.information import estimate_information
from milr.information.infomax import batch_information


def test_it_is_the_batch_information_without_the_bank() -> None:
    explainer = prepared()
    images = pictures(24, seed=5)[0]
    estimate = estimate_information(explainer, images.split(12))
    expected = []
    with torch.no_grad():
        for part in images.split(12):
            first = explainer.layers.first_pass(part)
            critic = explainer.prepared.critic
            local, z = critic.project_local(first.local), critic.project_representation(first.representation)
            expected.append(batch_information(local, z).mean() / math.log(2))
    assert estimate.bits == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
    assert estimate.cap == pytest.approx(math.log2(12)) and estimate.images == 24
    assert estimate.saturation == pytest.approx(estimate.bits / estimate.cap)


def test_a_smaller_last_batch_is_left_out() -> None:
    images = pictures(20, seed=5)[0]
    assert estimate_information(prepared(), images.split(8)).images == 16


def test_no_images_no_estimate() -> None:
    with pytest.raises(ValueError, match="no images"):
        estimate_information(prepared(), [])
