"""The other side: the same arithmetic in a loop written the way research code often is.

fp32, NCHW, weight gradients left on in every network, BatchNorm statistics by mean and variance in forward hooks,
images through PNG files and a DataLoader, the teacher asked again at every step.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from ours import STUDENT, TEACHER, K, Size, settled
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

PADDING = 4


class StatisticsHook:
    """The distance of a batch's mean and variance from a BatchNorm layer's, read as its input passes by."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        self.distance = torch.empty(0)
        layer.register_forward_hook(self)

    def __call__(self, layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        x = inputs[0]
        mean = x.mean([0, 2, 3])
        var = x.permute(1, 0, 2, 3).contiguous().view(x.shape[1], -1).var(1, unbiased=False)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        self.distance = torch.norm(layer.running_var - var, 2) + torch.norm(layer.running_mean - mean, 2)


class ImageFiles(Dataset):
    """The PNG files of a folder, normalised; with `views`, each cropped and mirrored at random."""

    def __init__(self, folder: Path, size: Size, views: bool) -> None:
        self.files = sorted(folder.glob("*.png"))
        self.views = views
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (size.task.mean, size.task.std))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.open(self.files[index])
        if self.views:
            image = _view(image)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return (pixels - self.mean) / self.std


def _view(image: Image.Image) -> Image.Image:
    side = image.width
    left, top = random.randint(0, 2 * PADDING), random.randint(0, 2 * PADDING)
    image = ImageOps.expand(image, PADDING).crop((left, top, left + side, top + side))
    return ImageOps.mirror(image) if random.random() < 0.5 else image


def generator(latent: int, size: Size) -> nn.Module:
    """The lineage's generator layer by layer."""
    width, start = size.width, size.image // 4
    return nn.Sequential(
        nn.Linear(latent, 2 * width * start**2), nn.Unflatten(1, (2 * width, start, start)), nn.BatchNorm2d(2 * width),
        nn.Upsample(scale_factor=2), nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
        nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2), nn.Conv2d(2 * width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 3, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip


class Plain:
    """FM as `sansdata.methods.fm` has it, without its care. Images are files in `folder`."""

    latent = 256

    def __init__(self, size: Size, folder: Path, views: bool = False) -> None:
        torch.manual_seed(0)
        self.size, self.folder, self.views = size, folder, views
        self.teacher, self.student = (settled(name, size.task) for name in (TEACHER, STUDENT))
        self.teacher.eval()
        self.hooks = [StatisticsHook(part) for part in self.teacher.modules() if isinstance(part, nn.BatchNorm2d)]
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1) for values in (size.task.mean, size.task.std))
        self.generator = generator(self.latent, size)
        self.meta_optimizer = torch.optim.Adam(self.generator.parameters(), lr=3e-3 * K, betas=(0.5, 0.999))
        self.optimizer = torch.optim.SGD(self.student.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-4)
        self.rounds = 0
        self.batches: Iterator[Tensor] = iter(())

    def synthesise(self) -> None:
        clone = copy.deepcopy(self.generator)
        z = torch.randn(self.size.batch, self.latent, requires_grad=True)
        targets = torch.randint(self.size.classes, (self.size.batch,))
        optimizer = torch.optim.Adam(
            [{"params": clone.parameters(), "lr": 3e-3}, {"params": [z], "lr": 0.01}], betas=(0.5, 0.999)
        )
        best_loss, best = float("inf"), torch.empty(0)
        self.student.eval()
        self.meta_optimizer.zero_grad()
        for step in range(K):
            images = clone(z)
            loss = self.inversion_loss(images, targets)
            if loss.item() < best_loss or step == 0:
                best_loss, best = loss.item(), images.detach()
            optimizer.zero_grad()
            loss.backward()
            for mine, other in zip(self.generator.parameters(), clone.parameters()):
                assert other.grad is not None
                mine.grad = other.grad.clone() if mine.grad is None else mine.grad + other.grad
            optimizer.step()
        self.meta_optimizer.step()
        self.save(best)

    def inversion_loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """images (B, 3, H, W) in 0..1, targets (B,)."""
        inputs = (images - self.mean) / self.std
        t, s = self.teacher(inputs), self.student(inputs)
        same = (t.argmax(1) == s.argmax(1)).float()
        gap = (F.kl_div(F.log_softmax(s, 1), F.softmax(t, 1), reduction="none").sum(1) * same).mean()
        statistics = torch.stack([hook.distance for hook in self.hooks]).sum()
        return 10 * statistics + 0.5 * F.cross_entropy(t, targets) - 1.33 * gap

    def save(self, images: Tensor) -> None:
        """images (B, 3, H, W) in 0..1 beside those of earlier rounds; the loader begins anew."""
        pixels = (images.clamp(0, 1).numpy() * 255).astype("uint8").transpose(0, 2, 3, 1)
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(self.folder / f"{self.rounds}-{i}.png")
        self.rounds += 1
        self.batches = self.endless()

    def endless(self) -> Iterator[Tensor]:
        files = ImageFiles(self.folder, self.size, self.views)
        while True:
            yield from DataLoader(files, self.size.batch, shuffle=True, num_workers=0, drop_last=True)

    def fill(self) -> None:
        self.save(torch.rand(self.size.batch, *self.size.task.shape))

    def transfer(self) -> None:
        self.student.train()
        inputs = next(self.batches)
        with torch.no_grad():
            t = self.teacher(inputs)
        s = self.student(inputs)
        loss = F.kl_div(F.log_softmax(s / 20, 1), F.softmax(t / 20, 1), reduction="batchmean") * 400
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
