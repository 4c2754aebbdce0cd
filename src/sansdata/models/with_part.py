"""A student with a part beside its logits that only training needs, such as a projection of its features."""

from __future__ import annotations

from torch import Tensor, nn

from .taps import forward

PROJECTED = "projection"
"""The tap that gives projected features."""


class WithPart(nn.Module):
    """Images (B, C, H, W), normalised -> the student's logits (B, K); a part beside it runs with it.

    The tap `name` gives what the part makes of the student's tap `reads`, or of its logits. All other taps are the
    student's own paths. child: the attribute that holds the part, which begins its weights' names in a checkpoint.
    """

    def __init__(
        self, student: nn.Module, name: str, part: nn.Module, reads: str | None = None, child: str = "part"
    ) -> None:
        super().__init__()
        self.student, self.name, self.reads, self.child = student, name, reads, child
        self.add_module(child, part)

    @property
    def beside(self) -> nn.Module:
        """The part."""
        return self._modules[self.child]  # type: ignore[return-value]

    def get_submodule(self, target: str) -> nn.Module:
        return self.beside if target == self.name else self.student.get_submodule(target)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = forward(self.student, inputs, () if self.reads is None else (self.reads,))
        self.beside(outputs.logits if self.reads is None else outputs.taps[self.reads])
        return outputs.logits
