"""The public surface: every name is there, and the Python lines of the README work on a model of one's own."""

import subprocess
import sys

import torch
from toy import CLASSES, pictures, trained_network

import milr


def test_every_public_name_can_be_imported() -> None:
    for name in milr.__all__:
        assert getattr(milr, name) is not None
    assert set(milr.__all__) <= set(dir(milr))


def test_the_package_alone_does_not_import_torch() -> None:
    check = "import sys, milr; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_ten_lines_on_a_classifier_of_ones_own() -> None:
    images, labels, _ = pictures(64, seed=1)
    network = trained_network()

    explainer = milr.MILR(network, "layer1", "avgpool", example=images[:2])
    explainer.prepare(images.split(32), len(images))

    def batch(step: int) -> milr.Batch:
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(step))[:16]
        return milr.Batch(images[chosen], lambda output: (output, labels[chosen]))

    milr.fit(explainer, batch, milr.FitSettings(steps=5, critic=milr.CriticSettings(steps=20)))
    maps = explainer.maps(images[:8])

    assert maps.total.shape == maps.decision.shape == maps.redundant.shape == (8, 16, 16)
    assert maps.output.shape == (8, CLASSES)
