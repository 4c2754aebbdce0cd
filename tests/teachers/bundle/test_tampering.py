"""Whatever is done to a bundle is refused, each thing by a check and in words of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import changed_json, make_key, summed_again
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from sansdata.api.bundle import verify_bundle
from sansdata.cli.main import app
from sansdata.errors import BundleError
from sansdata.models.saved import KEY

WEIGHTS = "models/model.safetensors"
Change = Callable[[Path], None]


def flip(name: str, at: int, hidden: bool = False) -> Change:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[at] ^= 1
        (folder / name).write_bytes(data)
        if hidden:
            summed_again(folder)

    return change


def add(name: str, hidden: bool = False) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(b"x")
        if hidden:
            summed_again(folder)

    return change


def only_pickled(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    torch.save(tensors, folder / "models/model.pt")
    summed_again(folder)


def link(name: str) -> Change:
    def change(folder: Path) -> None:
        elsewhere = folder.parent / "elsewhere"
        shutil.move(folder / name, elsewhere)
        (folder / name).symlink_to(elsewhere)

    return change


def hard_link(folder: Path) -> None:
    os.link(folder / WEIGHTS, folder.parent / "second-name")


def pipe(folder: Path) -> None:
    (folder / "LICENSE").unlink()
    os.mkfifo(folder / "LICENSE")


def grown(folder: Path) -> None:
    """A hole: it costs nothing to make."""
    with open(folder / "LICENSE", "r+b") as file:
        file.truncate(10**9)


def weights(change: Callable[[dict[str, torch.Tensor], dict[str, str]], object]) -> Change:
    """Other tensors, or other words about them, in the same file; hidden."""

    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        with safe_open(folder / WEIGHTS, "pt") as file:
            metadata = dict(file.metadata())
        change(tensors, metadata)
        save_file(tensors, folder / WEIGHTS, metadata)
        summed_again(folder)

    return rewrite


def both(old: str, new: str) -> Change:
    """The same change in the weights' own words and in dfkd.json, so that the two agree."""

    def change(folder: Path) -> None:
        weights(lambda _, said: said.update({KEY: said[KEY].replace(old, new)}))(folder)
        text = "".join((folder / "configs/dfkd.json").read_text().split())
        assert old.replace(" ", "") in text
        (folder / "configs/dfkd.json").write_text(text.replace(old.replace(" ", ""), new.replace(" ", "")))
        summed_again(folder)

    return change


def golden(folder: Path) -> None:
    arrays = dict(np.load(folder / "configs/golden.npz"))
    arrays["answers"] = arrays["answers"][:, ::-1].copy()
    np.savez(folder / "configs/golden.npz", **arrays)
    summed_again(folder)


def field(name: str, path: str, value: object) -> Change:
    """Puts a value into a description, and hides it."""

    def change(folder: Path) -> None:
        def put(fields: dict) -> None:
            *way, last = path.split(".")
            for part in way:
                fields = fields[part]
            fields[last] = value

        changed_json(folder, f"configs/{name}.json", put)

    return change


def without(name: str, path: str) -> Change:
    return lambda folder: changed_json(folder, f"configs/{name}.json", lambda fields: fields.pop(path))


TAMPERED: dict[str, tuple[str, str, Change]] = {
    "a flipped byte of the weights": ("changed", "was changed after", flip(WEIGHTS, -1)),
    "a flipped byte of the card": ("changed", "docs/README.md was changed", flip("docs/README.md", 3)),
    "a flipped byte, hidden": ("signature", "the signature is not by the key", flip("docs/README.md", 3, hidden=True)),
    "a flipped byte of the signature": ("signature", "the signature is not by the key", flip("model.sig", 5)),
    "no signature": ("unsigned", "is not signed", lambda folder: (folder / "model.sig").unlink()),
    "an added file": ("added", "no part of a bundle", add("notes.txt")),
    "an added file, hidden": ("added", "no part of a bundle", add("docs/extra.md", hidden=True)),
    "a known file that nothing names": ("added", "not named in SHA256SUMS", add("docs/sbom.json")),
    "an added folder": ("link", "is a folder", lambda folder: (folder / "data").mkdir()),
    "a missing file": ("missing", "has no docs/README.md", lambda folder: (folder / "docs/README.md").unlink()),
    "no SHA256SUMS": ("missing", "has no SHA256SUMS", lambda folder: (folder / "SHA256SUMS").unlink()),
    "a line twice": (
        "sums", "there twice",
        lambda f: (f / "SHA256SUMS").write_text(2 * (f / "SHA256SUMS").read_text()),
    ),
    "a name that leads out": (
        "missing", "names ../secret",
        lambda f: (f / "SHA256SUMS").write_text((f / "SHA256SUMS").read_text() + f"{'0' * 64}  ../secret\n"),
    ),
    "pickled weights alone": ("pickle", "may run code", only_pickled),
    "pickled weights beside": ("pickle", "bundle convert", add("models/model.pt", hidden=True)),
    "TorchScript beside": ("pickle", "may run code", add("models/model.ts", hidden=True)),
    "a link for the weights": ("link", "is a link", link(WEIGHTS)),
    "a link for a folder": ("link", "is a link", link("configs")),
    "a second name": ("link", "hard link", hard_link),
    "a pipe": ("link", "a pipe or a device", pipe),
    "a file too large": ("size", "more than the 1,000,000", grown),
}  # fmt: skip
"""What happens before the signature is asked -> (the check that refuses it, what it says, how it is done)."""

SIGNED_SO: dict[str, tuple[str, str, Change]] = {
    "an expression": ("expression", "'description' is '$import os'", field("metadata", "description", "$import os")),
    "a reference": ("expression", "@weights", field("metadata", "authors", "@weights")),
    "a macro": ("expression", "%file", field("dfkd", "vendor.privacy", " %file#key")),
    "an expression deep inside": (
        "expression", "channel_def",
        field("metadata", "network_data_format.outputs.pred.channel_def", {"0": "$__import__('os').system('x')"}),
    ),
    "an expression as a name": ("expression", "$x", field("metadata", "required_packages_version", {"$x": "1"})),
    "a class to be made": ("target", "_target_", field("metadata", "train", {"_target_": "os.system", "x": "ls"})),
    "a class in our own": ("target", "_target_", field("dfkd", "vendor.thresholds", {"_target_": 0.5})),
    "a newer schema": ("schema", "needs a newer sansdata", field("dfkd", "schema_version", 2)),
    "an unknown setting": ("schema", "unknown setting 'extra'", field("dfkd", "extra", 1)),
    "a share of two": ("schema", "priors", field("dfkd", "vendor.priors", [0.5, 2.0])),
    "priors of other classes": ("schema", "2 shares for 4 classes", field("dfkd", "vendor.priors", [0.5, 0.5])),
    "a key of MONAI's missing": ("schema", "'authors' is missing", without("metadata", "authors")),
    "a version that is none": ("schema", "version", field("metadata", "version", "latest")),
    "no JSON": ("schema", "no JSON", lambda f: ((f / "configs/dfkd.json").write_text("{"), summed_again(f))),
    "nested without end": (
        "schema", "no JSON",
        lambda f: ((f / "configs/dfkd.json").write_text("[" * 100_000), summed_again(f)),
    ),
    "a mean that only one of both says": ("schema", "something else", field("dfkd", "model.preprocessing.mean", [9])),
    "another mean in both": ("golden", "does not answer as it did", both('"mean": [0.5]', '"mean": [0.4]')),
    "other weights": ("golden", "does not answer", weights(lambda t, _: t["linear.weight"].add_(0.5))),
    "weights that are no numbers": (
        "golden", "does not answer", weights(lambda t, _: t["linear.weight"].fill_(float("nan"))),
    ),
    "a tensor too many": ("weights", "not expected: extra", weights(lambda t, _: t.update(extra=torch.ones(1)))),
    "a tensor missing": ("weights", "missing: linear.bias", weights(lambda t, _: t.pop("linear.bias"))),
    "another network": ("weights", "do not fit", both('"name": "resnet8"', '"name": "resnet14"')),
    "an unknown network": ("architecture", "resnet9", both('"name": "resnet8"', '"name": "resnet9"')),
    "code as a network": (
        "architecture", "made by the code os:system",
        both('"kind": "zoo", "name": "resnet8"', '"kind": "factory", "name": "os:system"'),
    ),
    "no student file": ("schema", "something else", weights(lambda _, said: said.pop(KEY))),
    "a broken header": ("weights", "no safetensors file", flip(WEIGHTS, 6, hidden=True)),
    "golden answers": ("golden", "does not answer", golden),
    "golden answers as a pickle": (
        "golden", "objects", lambda f: (np.savez(f / "configs/golden.npz", input=np.array([{}])), summed_again(f)),
    ),
    "a golden test of others": ("golden", "must be float32", field("dfkd", "golden.count", 3)),
    "a golden test that allows all": ("schema", "tolerance", field("dfkd", "golden.tolerance", 100.0)),
}  # fmt: skip
"""What its maker itself may have signed: without a key, these are the checks behind the signature."""


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_done_to_a_bundle_is_refused(what: str, bundle: Path, made) -> None:
    reason, said, change = TAMPERED[what]
    change(bundle)
    with pytest.raises(BundleError) as fault:
        verify_bundle(bundle, made.public)
    assert (fault.value.reason, said in str(fault.value)) == (reason, True), str(fault.value)


@pytest.mark.parametrize("what", SIGNED_SO)
def test_what_a_bundle_may_not_say_is_refused(what: str, bundle: Path) -> None:
    reason, said, change = SIGNED_SO[what]
    change(bundle)
    with pytest.raises(BundleError) as fault:
        verify_bundle(bundle)
    assert (fault.value.reason, said in str(fault.value)) == (reason, True), str(fault.value)


def test_the_errors_of_the_card_are_distinct() -> None:
    """Flipped byte, added file, wrong key, .pt only, `$` expression; a zip-slip is among the archives."""
    card = ["a flipped byte of the weights", "an added file", "a flipped byte, hidden", "pickled weights alone"]
    reasons = [TAMPERED[what][0] for what in card] + [SIGNED_SO["an expression"][0]]
    assert len(set(reasons)) == len(reasons)


def test_another_key_is_refused(bundle: Path, made, tmp_path: Path) -> None:
    _, other = make_key(tmp_path, "other")
    with pytest.raises(BundleError, match="by another way") as fault:
        verify_bundle(bundle, other)
    assert fault.value.reason == "signature"
    assert verify_bundle(bundle, made.public).signer is not None


def test_the_command_ends_with_2_and_no_traceback(bundle: Path, made) -> None:
    assert CliRunner().invoke(app, ["bundle", "verify", str(bundle), "--key", str(made.public)]).exit_code == 0
    only_pickled(bundle)
    ended = CliRunner().invoke(app, ["bundle", "verify", str(bundle)])
    assert isinstance(ended.exception, BundleError)
    assert ended.exception.exit_code == 2


@pytest.mark.parametrize("what", ["pickled weights alone", "an added file", "a flipped byte of the weights"])
def test_a_bundle_that_was_tampered_with_is_no_teacher_either(what: str, bundle: Path) -> None:
    TAMPERED[what][2](bundle)
    ended = CliRunner().invoke(app, ["check", "--teacher", str(bundle)])
    assert isinstance(ended.exception, BundleError)


def test_nothing_ran(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle and an expression that would leave a trace leave none."""
    monkeypatch.chdir(tmp_path)

    class Evil:
        def __reduce__(self):
            return os.system, ("touch canary",)

    torch.save(Evil(), bundle / "models/model.pt")
    field("metadata", "description", "$__import__('os').system('touch canary')")(bundle)
    with pytest.raises(BundleError):
        verify_bundle(bundle)
    (bundle / "models/model.pt").unlink()
    summed_again(bundle)
    with pytest.raises(BundleError):
        verify_bundle(bundle)
    assert not (tmp_path / "canary").exists()
