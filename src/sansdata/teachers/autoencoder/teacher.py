"""The autoencoder as a teacher: noise goes in, and a latent of its own comes out."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ...contracts import Access
from ...errors import TeacherError
from ...files import sha256
from ...tasks import NoiseSpec, PairTask, Task, VectorsSpec
from ..base import Teacher, fingerprint
from .base import ENCODES, AutoEncoder, LatentSource
from .file import load_autoencoder

BANK = "latents of {count:,} real rows: personal data. A student that learns them is not data-free"


class Latents(nn.Module):
    """Noise (B, Z) -> latents (B, Z): draws of the moments where the file has them, else the noise itself, which is a
    draw of the prior. The same noise gives the same latent."""

    def __init__(self, model: LatentSource) -> None:
        super().__init__()
        self.vae = model.vae
        self._model = (model,)  # a tuple, so that torch does not look into it

    def forward(self, noise: Tensor) -> Tensor:
        moments = self._model[0].moments
        return noise.clone() if moments is None else moments.moved(noise)

    def fingerprint(self) -> str:
        """Of both halves, and of what the file says of real rows."""
        model = self._model[0]
        parts: dict[str, Tensor] = {f"vae.{name}": value for name, value in self.vae.state_dict().items()}
        if model.moments is not None:
            parts |= {f"moments.{name}": value for name, value in vars(model.moments).items()}
        if model.bank is not None:
            parts |= {f"bank.{name}": value for name, value in vars(model.bank).items()}
        return fingerprint(_Held(parts))


class _Held(nn.Module):
    """Tensors by name, as a module has them."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in tensors.items():
            self.register_buffer(name.replace(".", "_"), value)


def task_of(model: AutoEncoder) -> PairTask:
    """Noise into latents, of its size."""
    return PairTask(inputs=NoiseSpec(shape=(model.latent,)), outputs=VectorsSpec(size=model.latent))


def teacher_of(model: AutoEncoder, task: Task, digest: str | None = None) -> Teacher:
    """Raises TeacherError for a task that is not noise of the latent's size into vectors of it."""
    own = task_of(model)
    if task.pair != own.pair or task.inputs.numbers != model.latent or task.outputs.size != model.latent:
        raise TeacherError(
            f"{model.source}: an autoencoder with latents of {model.latent} numbers; its task: inputs: {{kind: noise, "
            f"shape: [{model.latent}]}}, outputs: {{kind: vectors}}"
        )
    notes = () if model.bank is None else (f"{model.source}: holds {BANK.format(count=len(model.bank.latents))}",)
    return Teacher(
        Latents(model).eval(), task, None, model.source, digest, most=Access.SCORES, notes=notes,
        capabilities={ENCODES: model},
    )  # fmt: skip


def load_autoencoder_teacher(path: Path, task: Task) -> Teacher:
    """Raises TeacherError or UnsafeFileError for a file that is none, or for another task."""
    return teacher_of(load_autoencoder(path), task, sha256(path))
