"""What the teacher was asked before is taught again: its answers are kept, and nothing is asked twice."""

from __future__ import annotations

from torch import Tensor

from ..contracts import Batch
from ..decoding import pixels
from ..memory import Pool
from ..method import Context


class Replay:
    """A pool of images as they are stored, with the teacher's answers to the stored ones."""

    def __init__(self, context: Context, capacity: int) -> None:
        self.context, self.pool = context, Pool(capacity)

    def ask(self, images: Tensor) -> Batch:
        """The images (B, C, H, W) as 8 bits hold them, with answers, of which both are kept."""
        context = self.context
        batch = context.teach(context.runtime.place(pixels.unpack(pixels.pack(images))))
        answers = batch.answers().value
        self.pool.add(batch.images, answers.argmax(1).cpu(), context.teacher.network.outputs.pack(answers))
        return batch

    def draw(self, count: int) -> Batch:
        """`count` of all that was kept, evenly with replacement."""
        context = self.context
        pooled = self.pool.sample(count, context.streams("replay"))
        answers = context.teacher.network.outputs.unpack(pooled.extras["logits"].to(context.runtime.device))
        return context.teach(context.runtime.place(pooled.inputs), answers=answers)


def asked_in(steps: int, asking: int, replaying: int) -> int:
    """Of so many student steps, in rounds of `asking` steps and `replaying` ones behind them, those of the first."""
    rounds, rest = divmod(steps, asking + replaying)
    return rounds * asking + min(rest, asking)
