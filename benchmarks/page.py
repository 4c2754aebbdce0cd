"""Writes docs/speed.md from the figures in docs/speed, so that no figure is written by hand.

python benchmarks/page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
KEPT = ("speed", "cost", "cores")
AIMS = {"synthesis round": 5, "transfer step": 8}

HEAD = """# Speed

Written by `benchmarks/page.py` from what `speed.py`, `cost.py` and `cores.py` beside it measured; do not edit.

How much faster a synthesis round and a student step are here than in a plain loop, why, where the remaining time
goes, and what larger images, batches, generators and tasks cost. No figure is of a GPU.

## Beside a plain loop

ResNet-56 teacher, ResNet-20 student, {image}x{image} colour images, batch {batch}, method `fm` with 5 inner steps and
a generator of width {width}.

"""

SIDES = """
The plain loop does the same arithmetic, written the way research code often is: fp32, the default memory layout,
weight gradients left on in every network, BatchNorm statistics by mean and variance in forward hooks that stay in
place while the student learns, images through PNG files and a `DataLoader`, the teacher asked again at every step.
"Times as fast" is the median of {repeats} paired runs, lowest and highest in brackets; a wide range says that the
machine did other work at the time.

"Fresh views" is `view: crop+flip`, the default of `fm`: each student step crops and mirrors its images anew, so that
the teacher has to be asked again on our side too. The other rows have `view: none`, where its answers are kept.
"""

WHY = """
## What makes it faster

- **bf16** where the processor multiplies it in hardware; `sansdata doctor` says whether yours does. Weights,
  optimisers and losses stay in fp32.
- **Channels last**, the memory layout that convolutions compute in, so that nothing is rearranged in between.
- **Frozen networks carry no weight gradients**: never the teacher, and not the student while images are made. Their
  backward pass computes the gradient of the images only.
- **The teacher's answers are kept** beside the images, which are 8-bit tensors in memory, not files. A student step
  decodes nothing and asks nobody, unless views are fresh or features are aligned.
- **Enlarging convolutions are transposed ones.** "Double the image, then convolve with 3x3" is one transposed
  convolution with a 4x4 kernel, exactly, at 4/9 of the multiplications.
- **Statistics from sums.** Mean and variance per channel come from the sum and the sum of squares, and their gradient
  is one multiply-add per value.
- **Freed memory is kept** by a command's process and used again, instead of being returned to the system and faulted in
  anew at every step. A program of yours that calls the library keeps its own ways with memory; on Linux
  `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647 MALLOC_TOP_PAD_=268435456` before it does the same.

None of this changes what is computed, except that bf16 rounds; `--precision fp32` turns it off. Before step 0 teacher
and student are tried as they will be run: where one of them fails in bf16 or channels last (a `view` of a map, an
operation for one type only), or bf16 changes a teacher's answers by more than a tenth, that is left off for the run,
and said.

## On an accelerator

`--device cuda` (or `auto`, where there is one) computes in bf16 and channels last there too. Nobody waits for a loss
within a round of `fm`; the pool of images moves to the device where a quarter of its free memory holds it; under
`torchrun` each process has a device of its own, gradients are averaged by nccl, and counts and flags by gloo. **None
of it has been measured yet**: `python benchmarks/accelerator.py --minutes 9 --json FILE` measures what is worth it in
ten minutes of one accelerator (step times, memory, a run that is stopped and resumed, and a public pair of networks
from random weights).
"""

BUDGET = """
## Where the remaining time goes

One run of each phase under PyTorch's profiler, which itself costs a little. "At the matrix rate" is what the
multiplications of the phase would take if all were done as fast as this machine multiplies two large square matrices,
measured in the same run: {fp32:.0f} GFLOP/s in fp32, {bf16:.0f} GFLOP/s in bf16. Seconds; linear layers count as
convolutions; "the rest" is views of memory, and Python between the operators. The columns after "spent" add up to it.

"""

COST = """
## Cost against size

Seconds and peak memory of our side as one size grows from {image}x{image} images, batch {batch}, generator width
{width}, {classes} classes. The scales are logarithmic. Memory is that of the whole process; at the smallest size it
is {floor:.2f} GB, nearly all of it Python and PyTorch. A pool comes on top, with one byte per value: 60,000 images of
3x32x32 take 0.18 GB. Seconds are the lowest of {repeats} runs; the machine did other work at times, so that a single
point may be too high by half and more. Memory is not affected by that.

![Seconds and peak memory against image side, batch, generator width and classes](pictures/cost.png)
"""

CORES = """
## Threads or processes

One synthesis round and one student step of {batch} images in all, as above: by one thread, by a thread on each core,
and by a process of one thread on each core, which `torchrun` starts and which average their gradients. Seconds, and
how many times as fast as one thread, the median of {repeats} turns with lowest and highest in brackets; {processor},
in {precision}, with nothing else running.

"""

MEASURED = """
## How it was measured

`make bench` repeats the comparison on your machine and prints it. Each side has a process of its own, because some of
the above is set for a whole process. One waits while the other computes, and they take turns, so that a drift of the
machine meets both. One run of each phase comes before and does not count. The networks have random weights: the cost
does not depend on what they have learned.

{processor}, {cores} cores, {threads} threads; torch {torch}, sansdata {sansdata}; {date}.
"""


def main() -> None:
    speed, cost, cores = (json.loads((DOCS / "speed" / f"{name}.json").read_text()) for name in KEPT)
    (DOCS / "speed.md").write_text(page(speed, cost, cores), encoding="utf-8")


def page(speed: dict[str, Any], cost: dict[str, Any], cores: dict[str, Any]) -> str:
    rates = {precision: value / 1e9 for precision, value in speed["matrix FLOP/s"].items()}
    floor = min(each["transfer step"]["peak bytes"] for each in cost["points"]) / 1e9
    parts = [
        HEAD.format(**speed["size"]),
        ratios(speed),
        SIDES.format(**speed),
        WHY,
        BUDGET.format(**rates),
        budgets(speed),
        "\nSo, of our side:\n\n",
        readings(speed),
        COST.format(**cost["points"][0]["size"], repeats=cost["repeats"], floor=floor),
        CORES.format(**cores["size"], **cores["machine"], repeats=cores["repeats"], precision=cores["precision"]),
        by_cores(cores),
        MEASURED.format(**speed["machine"]),
    ]
    return "".join(parts)


def ratios(speed: dict[str, Any]) -> str:
    rows = [["phase", "plain, s", "ours, s", "times as fast", "aim"]]
    for phase, each in speed["phases"].items():
        span = f"{each['ratio']:.1f} ({each['lowest ratio']:.1f} to {each['highest ratio']:.1f})"
        rows.append([phase, f"{each['plain s']:.2f}", f"{each['ours s']:.2f}", span, verdict(phase, each["ratio"])])
    return table(rows)


def by_cores(cores: dict[str, Any]) -> str:
    rows = [["phase", *next(iter(cores["phases"].values()))]]
    for phase, sides in cores["phases"].items():
        rows.append([phase, *(
            f"{each['seconds']:.2f}; {each['ratio']:.2f} ({each['lowest ratio']:.2f} to {each['highest ratio']:.2f})"
            for each in sides.values()
        )])  # fmt: skip
    return table(rows)


def verdict(phase: str, ratio: float) -> str:
    if phase not in AIMS:
        return "–"
    return f"{AIMS[phase]}: {'reached' if ratio >= AIMS[phase] else '**not reached**'}"


def budgets(speed: dict[str, Any]) -> str:
    groups = next(iter(speed["budgets"]["ours"].values()))["groups"]
    rows = [["side", "phase", "GFLOP", "at the matrix rate", "spent", *groups]]
    for side, phases in speed["budgets"].items():
        for phase, each in phases.items():
            figures = [at_rate(speed, side, phase), each["seconds"], *each["groups"].values()]
            name = f"{side}, {precision_of(speed, side)}"
            rows.append([name, phase, f"{each['flops'] / 1e9:.0f}", *(f"{figure:.2f}" for figure in figures)])
    return table(rows)


def readings(speed: dict[str, Any]) -> str:
    """What the convolutions reach, and how much would be gained if they were perfect."""
    lines = []
    for phase, each in speed["budgets"]["ours"].items():
        spent, ideal = each["seconds"], at_rate(speed, "ours", phase)
        convolutions = sum(seconds for group, seconds in each["groups"].items() if group.startswith("convolutions"))
        bound = speed["budgets"]["plain"][phase]["seconds"] / (spent - convolutions + ideal)
        lines += [
            f"- {phase}: {ideal:.2f} s at the matrix rate, {spent:.2f} s spent. Convolutions take "
            f"{convolutions:.2f} s of it,",
            f"  {100 * ideal / convolutions:.0f} % of the matrix rate; the other {spent - convolutions:.2f} s move "
            "memory.",
            f"  With convolutions at the full rate and nothing else changed it would be {bound:.1f} times as fast as",
            f"  the plain loop; the aim is {AIMS[phase]}.",
        ]
    return "\n".join(lines) + "\n"


def at_rate(speed: dict[str, Any], side: str, phase: str) -> float:
    return speed["budgets"][side][phase]["flops"] / speed["matrix FLOP/s"][precision_of(speed, side)]


def precision_of(speed: dict[str, Any], side: str) -> str:
    return speed["precision"] if side == "ours" else "fp32"


def table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]) + "\n"


if __name__ == "__main__":
    main()
