"""Seconds per phase: our FM synthesis and transfer steps beside a plain loop written the way research code often is.

    python benchmarks/speed.py [--batch 256] [--repeats 5] [--threads 2]

ResNet-56 teacher, ResNet-20 student, 32x32 colour images, generator of width 64, k = 5. Both sides run in this process,
in turn; the figure to quote is the ratio. The plain loop: fp32, NCHW, weight gradients left on in every
network, BatchNorm statistics by `var_mean` in hooks, images through PNG files, the teacher asked again at every step.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from sansdata.engine.session import Session
from sansdata.methods.fm import FM
from sansdata.methods.index import method_config
from sansdata.models.build import architecture_of, build
from sansdata.runtime import make_runtime
from sansdata.tasks import KNOWN_TASKS
from sansdata.teachers.base import Teacher

K = 5
TASK = KNOWN_TASKS["cifar10"]


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return build(architecture_of("resnet56", TASK)), build(architecture_of("resnet20", TASK))


def ours(batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """One round of synthesis, and one transfer step from the pool."""
    teacher, student = networks()
    options = {"k": K, "width": 64, "batch": batch, "warmup_rounds": 0, "view": "none", "transfer": {"batch": batch}}
    session = Session(
        FM, method_config("fm", "default", options), Teacher.from_module(teacher, TASK), student, TASK, make_runtime()
    )

    def transfer() -> None:
        session.method.schedule["transfers_left"] = 2  # type: ignore[attr-defined]
        session.move()

    def synthesise() -> None:
        session.method.schedule["transfers_left"] = 0  # type: ignore[attr-defined]
        session.move()

    synthesise()
    return synthesise, transfer


def plain_generator() -> nn.Module:
    """The lineage's generator layer by layer, at its width of 64."""
    return nn.Sequential(
        nn.Linear(256, 128 * 8 * 8), nn.Unflatten(1, (128, 8, 8)), nn.BatchNorm2d(128),
        nn.Upsample(scale_factor=2), nn.Conv2d(128, 128, 3, padding=1, bias=False),
        nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 3, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip


class PlainLoop:
    """The same arithmetic without any of our care."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.teacher, self.student = networks()
        self.teacher.eval()
        self.generator = plain_generator()
        self.optimizer = torch.optim.SGD(self.student.parameters(), lr=0.1, momentum=0.9)
        self.mean, self.std = (torch.tensor(v).view(1, 3, 1, 1) for v in (TASK.mean, TASK.std))
        self.terms: list[Tensor] = []
        self.files: list[bytes] = []
        for part in self.teacher.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.register_forward_hook(self._statistics)

    def _statistics(self, layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        x = inputs[0]
        mean, var = x.mean((0, 2, 3)), x.permute(1, 0, 2, 3).reshape(x.shape[1], -1).var(1, unbiased=False)
        self.terms.append(torch.norm(layer.running_mean - mean) + torch.norm(layer.running_var - var))  # type: ignore[operator]

    def synthesise(self) -> None:
        z = torch.randn(self.batch, 256, requires_grad=True)
        targets = torch.randint(TASK.classes, (self.batch,))
        optimizer = torch.optim.Adam([*self.generator.parameters(), z], lr=3e-3, betas=(0.5, 0.999))
        images = z
        self.student.eval()
        for _ in range(K):
            self.terms.clear()
            images = self.generator(z)
            inputs = (images - self.mean) / self.std
            t, s = self.teacher(inputs), self.student(inputs)
            same = (t.argmax(1) == s.argmax(1)).float()
            gap = (F.kl_div(F.log_softmax(s, 1), F.softmax(t, 1), reduction="none").sum(1) * same).mean()
            loss = 10 * torch.stack(self.terms).sum() + 0.5 * F.cross_entropy(t, targets) - 1.33 * gap
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.files = [_png(image) for image in images.detach()]

    def transfer(self) -> None:
        images = torch.stack([_decode(file) for file in self.files])
        inputs = (images - self.mean) / self.std
        self.student.train()
        with torch.no_grad():
            t = self.teacher(inputs)
        s = self.student(inputs)
        loss = F.kl_div(F.log_softmax(s / 20, 1), F.softmax(t / 20, 1), reduction="batchmean") * 400
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _png(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((image.permute(1, 2, 0) * 255).byte().numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


def _decode(file: bytes) -> Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(file)))).permute(2, 0, 1).float() / 255


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def matrix_rate() -> float:
    """GFLOP/s of a square fp32 product: what this machine can do at best, measured in this run."""
    a = torch.randn(2048, 2048)
    a @ a
    return 2 * 2048**3 / min(seconds(lambda: a @ a) for _ in range(3)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    synthesise, transfer = ours(args.batch)
    plain = PlainLoop(args.batch)
    pairs = {"synthesis round": (plain.synthesise, synthesise), "transfer step": (plain.transfer, transfer)}
    figures: dict[str, object] = {
        "batch": args.batch, "threads": args.threads, "precision": make_runtime().precision,
        "matrix GFLOP/s": round(matrix_rate()),
    }  # fmt: skip
    for name, (theirs, mine) in pairs.items():
        theirs(), mine()
        times = [(seconds(theirs), seconds(mine)) for _ in range(args.repeats)]
        figures[name] = {
            "plain s": round(statistics.median(t for t, _ in times), 3),
            "ours s": round(statistics.median(m for _, m in times), 3),
            "ratio": round(statistics.median(t / m for t, m in times), 2),
        }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
