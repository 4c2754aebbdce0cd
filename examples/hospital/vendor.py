"""The vendor: trains on images that never leave its house, and hands over a signed bundle."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from steps import arguments, key_pair, sansdata, say

from sansdata.datasets.images import load_images
from sansdata.reproduce.supervised import train
from sansdata.tasks import load_task


def main() -> None:
    given = arguments(__doc__ or "")
    vendor, handed_over = given.folder / "vendor", given.folder / "handed-over"
    vendor.mkdir(parents=True)
    handed_over.mkdir()
    torch.set_num_threads(1)
    say("The vendor trains a ResNet-8 on its own images")
    task = load_task(given.data)
    images = load_images(given.data, task, "train")
    epochs = {"digits": 30, "pneumoniamnist": 8}[given.data]
    module = train("resnet8", images, task, epochs=8 if given.quick else epochs, batch=64, lr=0.1, seed=0)
    weights = vendor / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, weights)
    key_pair(vendor / "vendor.key", handed_over / "vendor.pub")
    say("It hands over a bundle: weights, preprocessing, a golden test, hashes and a signature; and its public key")
    sansdata(
        "bundle", "create", f"resnet8@{weights}", "--task", given.data, "--out", handed_over / "model-1.0.0.zip",
        "--sign", vendor / "vendor.key", "version=1.0.0", "authors=Vendor Ltd", f"description={given.data}, ResNet-8",
        "privacy=trained on images of one house, without differential privacy",
    )  # fmt: skip


if __name__ == "__main__":
    main()
