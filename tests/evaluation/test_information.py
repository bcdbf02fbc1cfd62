"""The quoted estimate is eq. 2 and 3 on the images given, and nothing else."""

import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from toy import pictures, prepared

from milr.errors import MilrError
from milr.evaluation.information import convergence, estimate_information
from milr.information.infomax import batch_information


def test_it_is_the_batch_information_without_the_bank() -> None:
    explainer = prepared()
    denominator = explainer.settings.infomax.denominator
    images = pictures(24, seed=5)[0]
    estimate = estimate_information(explainer, images.split(12))
    expected = []
    with torch.no_grad():
        for part in images.split(12):
            first = explainer.layers.first_pass(part)
            critic = explainer.modules.critic
            local, z = critic.project_local(first.local), critic.project_representation(first.representation)
            expected.append(batch_information(local, z, denominator).mean() / math.log(2))
    assert estimate.bits == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
    assert estimate.cap == pytest.approx(math.log2(12)) and estimate.images == 24
    assert estimate.saturation == pytest.approx(estimate.bits / estimate.cap)


def test_a_smaller_last_batch_is_left_out() -> None:
    images = pictures(20, seed=5)[0]
    assert estimate_information(prepared(), images.split(8)).images == 16


def test_no_images_no_estimate() -> None:
    with pytest.raises(MilrError, match="no images"):
        estimate_information(prepared(), [])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([16, 32], r"batches of \[16, 32\] images: all must have one size, the last may be smaller"),
        ([16, 16, 17], r"batches of \[16, 16, 17\] images"),
        ([16, 8, 16], r"batches of \[16, 8, 16\] images"),
        ([1, 1], "a batch of one image has no other image to be compared with"),
        ([0], "holds no image"),
    ],
)
def test_batches_without_a_common_cap_are_refused(sizes: list[int], message: str) -> None:
    images = pictures(sum(sizes), seed=5)[0]
    with pytest.raises(MilrError, match=message):
        estimate_information(prepared(), images.split(sizes))


def test_the_batches_of_a_data_loader_give_the_same_estimate() -> None:
    images, labels, _ = pictures(24, seed=5)
    explainer = prepared()
    expected = estimate_information(explainer, images.split(12))
    assert estimate_information(explainer, DataLoader(TensorDataset(images, labels), 12)) == expected
    assert estimate_information(explainer, (part.numpy() for part in images.split(12))) == expected


def test_a_module_that_was_never_fitted_has_no_estimate() -> None:
    with pytest.raises(MilrError, match="never fitted"):
        estimate_information(prepared(fitted=False), pictures(8, seed=5)[0].split(4))


@pytest.mark.parametrize(
    ("curve", "gain"),
    [
        ([(100, 1.0)], 1.0),  # one estimate shows no stall
        ([(80, 1.0), (100, 1.1)], 1.0),
        ([(50, 1.0), (100, 1.25)], 0.2),
        ([(50, 1.25), (75, 1.0), (100, 1.25)], 0.0),
        ([(50, -1.0), (100, -0.5)], 0.0),  # nothing was found, and nothing gained
    ],
)
def test_the_last_quarters_gain_is_over_what_was_there_before(curve: list[tuple[int, float]], gain: float) -> None:
    assert convergence(curve)["last_quarter_gain"] == pytest.approx(gain)
