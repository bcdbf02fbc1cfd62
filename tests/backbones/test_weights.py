"""Files of weights as people have them: those that fit give the representation of the network they came from."""

from __future__ import annotations

import argparse
import logging
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from disks import open_folder, unprivileged
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18
from torchvision.models.resnet import BasicBlock

from milr.backbones.backbones import build_backbone
from milr.backbones.weight_files import read_weight_file
from milr.backbones.weights import choose_weights
from milr.errors import MilrError
from milr.runs.checkpoints import save_checkpoint

State = dict[str, Tensor]
IMAGES = torch.linspace(-2, 2, 2 * 3 * 40 * 40).reshape(2, 3, 40, 40).sin()


def trained(seed: int = 0) -> ResNet:
    """A ResNet of four blocks whose running statistics are not those of a new one."""
    torch.manual_seed(seed)
    network = ResNet(BasicBlock, [1, 1, 1, 1])
    with torch.no_grad():
        network(torch.randn(8, 3, 32, 32))
    return network.eval()


def representation(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return network.eval()(IMAGES)


def expected(network: ResNet) -> Tensor:
    """The representation before the classifier."""
    network.fc = nn.Identity()  # type: ignore[assignment]
    return representation(network)


def named(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def without_counters(state: State) -> State:
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def within(state: State) -> State:
    return {key.replace("layer1.", "layer1._fsdp_wrapped_module."): value for key, value in state.items()}


HEAD = {"decoder.weight": torch.ones(3), "neck.0.bias": torch.ones(2)}
FORMS: dict[str, Callable[[State], Any]] = {
    "plain": dict,
    **{
        prefix: lambda state, prefix=prefix: named(prefix, state)
        for prefix in ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "feature_extractor.")
    },
    "module.model.": lambda state: named("module.model.", state),
    "_orig_mod.module.": lambda state: named("_orig_mod.module.", state),
    "within": within,
    **{
        key: lambda state, key=key: {key: state, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
        for key in ("state_dict", "model", "net", "model_state_dict", "params")
    },
    "lightning": lambda state: {"state_dict": {**named("model.backbone.", state), **HEAD}, "epoch": 1, "loops": {}},
    "old torch": without_counters,
    "other heads": lambda state: {**state, "classifier.0.weight": torch.ones(2), "head.bias": torch.ones(1)},
    "averaged": lambda state: {"n_averaged": torch.tensor(3), **named("module.", state)},
    "saved twice": lambda state: {**named("module.model.", state), **named("module.attacker.model.", state)},
    "a copy below": lambda state: {**state, **named("ema.", state)},
    "double": lambda state: {
        key: value.double() if value.is_floating_point() else value for key, value in state.items()
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("legacy", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_representation_is_that_of_the_network_the_weights_came_from(
    form: str, legacy: bool, tmp_path: Path
) -> None:
    network = trained()
    file = tmp_path / "weights.pth"
    torch.save(FORMS[form](network.state_dict()), file, _use_new_zipfile_serialization=not legacy)
    assert torch.equal(representation(build_backbone("resnet10", str(file))), expected(network))


def test_safetensors_give_the_same_representation(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    network, file = trained(), tmp_path / "model.safetensors"
    safetensors.save_file(named("module.", network.state_dict()), file)
    assert torch.equal(representation(build_backbone("resnet10", str(file))), expected(network))
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(MilrError, match="safetensors file that is cut off or damaged"):
        read_weight_file(file)


def test_safetensors_without_their_package_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    file = tmp_path / "model.safetensors"
    file.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(MilrError, match=r"needs a package: pip install 'milr\[safetensors\]'"):
        read_weight_file(file)


def test_what_was_taken_and_what_was_left_out_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": {**named("module.", trained().state_dict()), **HEAD}}, file)
    with caplog.at_level(logging.INFO, "milr"):
        build_backbone("resnet10", str(file))
    told = "\n".join(caplog.messages)
    assert "the weights are those under [state_dict] 'module.'" in told
    assert "left out, as no part of the network: module.fc.weight, module.fc.bias, decoder.weight and 1 more" in told


def changed(key: str, value: Tensor) -> Callable[[State], Any]:
    return lambda state: {**state, key: value}


REFUSED: dict[str, tuple[Callable[[State], Any], str]] = {
    "ema and model": (
        lambda state: {"model": state, "ema": {key: value + 1 for key, value in state.items()}},
        r"several networks that fit resnet10, under \[model\] and \[ema\]",
    ),
    "query and key encoder": (
        lambda state: {**named("encoder_q.", state), **{f"encoder_k.{k}": v + 1 for k, v in state.items()}},
        "several networks that fit resnet10, under 'encoder_q.' and 'encoder_k.'",
    ),
    "average beside it": (
        lambda state: {**state, **{f"ema.{key}": value + 1 for key, value in state.items()}},
        "several networks that fit resnet10, under no prefix and 'ema.'",
    ),
    "a layer more in the body": (
        lambda state: named("module.", {**state, "layer1.0.se.weight": torch.ones(3)}),
        r"1 unknown \(layer1.0.se.weight\) \(under 'module.'\)",
    ),
    "no running mean": (
        lambda state: {key: value for key, value in state.items() if "running" not in key},
        r"24 missing \(bn1.running_mean, ",
    ),
    "quantised": (
        changed("conv1.weight", torch.ones(64, 3, 7, 7, dtype=torch.int8)),
        r"1 of another kind of number \(conv1.weight\)",
    ),
    "zeros": (lambda state: {key: torch.zeros_like(value) for key, value in state.items()}, "is one number throughout"),
    "nan": (changed("bn1.bias", torch.full((64,), torch.nan)), "nan or inf, .*, in bn1.bias: it is damaged"),
    "one huge": (changed("bn1.bias", torch.full((64,), 1e30)), r"numbers beyond 1e\+15, in bn1.bias"),
    "means in place of variances": (
        lambda state: {**state, "bn1.running_var": state["bn1.running_mean"]},
        "variances below 0 in bn1.running_var",
    ),
    "variances of zero": (
        lambda state: {k: 0 * v if k.endswith("running_var") else 1e9 * v for k, v in state.items()},
        "resnet10 gives nan or inf for pictures of noise",
    ),
    "another network": (
        lambda state: {"features.0.weight": torch.ones(2)},
        r"none of its tensors \(features.0.weight\) has the name of one of the network's \(conv1.weight, ",
    ),
    "no tensors": (
        lambda state: {"epoch": 3, "lr": 0.1},
        r"no plain dictionary of tensors, .* \(its keys: epoch, lr\)",
    ),
    "one tensor": (lambda state: torch.ones(3), "no plain dictionary of tensors"),
    "resnet18": (
        lambda state: {"model": resnet18().state_dict()},
        r"does not fit resnet10: .*it fits backbone=resnet18",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_weights_in_doubt_are_refused_by_name(form: str, tmp_path: Path) -> None:
    make, words = REFUSED[form]
    torch.save(make(trained().state_dict()), tmp_path / "weights.pth")
    with pytest.raises(MilrError, match=words) as told:
        build_backbone("resnet10", str(tmp_path / "weights.pth"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "lost",
    [
        lambda name, value: value.ndim == 4 and name != "conv1.weight",
        lambda name, value: "bn" in name and name.endswith("weight"),
    ],
)
def test_weights_by_which_every_picture_is_the_same_are_refused(
    lost: Callable[[str, Tensor], bool], tmp_path: Path
) -> None:
    state = {k: torch.zeros_like(v) if lost(k, v) else v for k, v in trained().state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(MilrError, match="weights.pth: resnet10 gives the same numbers whatever picture it sees"):
        build_backbone("resnet10", str(tmp_path / "weights.pth"))


def test_a_layer_of_zeros_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = trained().state_dict()
    torch.save({**state, "layer3.0.conv1.weight": 0 * state["layer3.0.conv1.weight"]}, tmp_path / "weights.pth")
    build_backbone("resnet10", str(tmp_path / "weights.pth"))
    assert "nothing but zeros in layer3.0.conv1.weight: were they lost?" in caplog.text


def test_a_lost_block_of_a_file_without_checksums_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "weights.pth"
    torch.save(trained().state_dict(), path, _use_new_zipfile_serialization=False)
    read_weight_file(path)
    assert not caplog.messages
    content = path.read_bytes()
    path.write_bytes(content[: 100 * 4096] + bytes(2 * 4096) + content[102 * 4096 :])
    read_weight_file(path)
    assert f"{path}: from byte {100 * 4096} on 4096 or more are zeros" in caplog.text


def test_infinities_and_zeros_that_the_network_makes_itself_are_no_damage(caplog: pytest.LogCaptureFixture) -> None:
    mask, table = torch.full((4, 4), -torch.inf).triu(1), torch.zeros(40, 40)
    new, saved = ({"mask": mask, "table": table, "weight": torch.randn(4, 4)} for _ in range(2))
    assert torch.equal(choose_weights(new, saved, "a network", "a file")["weight"], saved["weight"])
    assert not caplog.messages
    with pytest.raises(MilrError, match="nan or inf, .*, in mask: it is damaged"):
        choose_weights(new, {**saved, "mask": mask.T}, "a network", "a file")


def test_weights_without_a_matrix_are_in_no_doubt() -> None:
    scale = {"scale": torch.ones(4), "tokens": torch.ones(1, 0, 4)}  # no tokens at all
    assert choose_weights(scale, scale, "a network", "a file").keys() == scale.keys()


def truncated(file: Path, **how: Any) -> None:
    torch.save(trained().state_dict(), file, **how)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped(file: Path) -> None:
    torch.save(trained().state_dict(), file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def zipped(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/resnet.pth", b"1")


KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "whole network": (lambda file: torch.save(trained(), file), "Python objects.*torchvision.models.resnet.ResNet"),
    "in parallel": (lambda file: torch.save(nn.DataParallel(trained()), file), "Python objects.*DataParallel"),
    "arguments": (
        lambda file: torch.save({"args": argparse.Namespace(), "model": {}}, file),
        "Python objects.*argparse.Namespace",
    ),
    "numpy": (lambda file: torch.save({"a": np.ones(3)}, file), "Python objects.*numpy"),
    "pickle": (lambda file: file.write_bytes(pickle.dumps({"a": 1})), "a Python pickle"),
    "scripted": (
        lambda file: file.write_bytes(torch.jit.script(nn.Linear(2, 2)).save_to_buffer()),
        "TorchScript archive",
    ),
    "npz": (lambda file: np.savez(file.open("wb"), a=np.ones(2)), r"NumPy arrays \(.npz\)"),
    "npy": (lambda file: np.save(file.open("wb"), np.ones(2)), "NumPy array"),
    "zip": (zipped, r"zip archive \(of weights/resnet.pth\)"),
    "page": (lambda file: file.write_text("\n<!DOCTYPE html><html>"), r"web page \(HTML\)"),
    "page without a head": (lambda file: file.write_text("<html lang='en'>"), r"web page \(HTML\)"),
    "answer": (lambda file: file.write_text('{"error": "gone"}'), r"text file that begins with '\{\"error\""),
    "lfs": (lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS.*`git lfs pull`"),
    "onnx": (lambda file: file.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.0.0:\xff"), "ONNX"),
    "keras": (lambda file: file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "gzip": (lambda file: file.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "gzip: unpack"),
    "empty": (lambda file: file.touch(), "empty file"),
    "zeros": (lambda file: file.write_bytes(bytes(9999)), "filled with zeros"),
    "half of it": (truncated, "cut off or damaged"),
    "half of an old one": (lambda file: truncated(file, _use_new_zipfile_serialization=False), "cut off or damaged"),
    "one bit changed": (flipped, "damaged .the checksum of"),
    "folder": (lambda file: (file.mkdir(), (file / "a.pth").touch()), r"is a folder: name the file in it \(a.pth\)"),
    "nothing": (lambda file: None, "there is no such file"),
    "network of milr": (
        lambda file: save_checkpoint(file, {"kind": "protonet"}),
        "milr's own.*source=<its run folder>",
    ),
    "module of milr": (lambda file: save_checkpoint(file, {"kind": "milr"}), "milr's own.*no network"),
    "state of milr": (lambda file: save_checkpoint(file, {"kind": "state"}), "milr's own.*resume=<its run folder>"),
}


@pytest.mark.filterwarnings("ignore")  # torch calls TorchScript old; NumPy's files are closed by the collector
@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_of_file_is_named_for_what_it_is(kind: str, tmp_path: Path) -> None:
    make, words = KINDS[kind]
    file = tmp_path / "weights.pth"
    make(file)
    with pytest.raises(MilrError, match=words) as told:
        build_backbone("resnet10", str(file))
    assert str(told.value).startswith(f"backbone.weights={file}") and "\n" not in str(told.value)


def test_weights_that_may_not_be_read_are_named() -> None:
    with open_folder() as folder:
        file = folder / "weights.pth"
        torch.save(trained().state_dict(), file)
        file.chmod(0)
        with unprivileged(), pytest.raises(MilrError, match=f"weights={file} cannot be read: Permission denied"):
            read_weight_file(file)
