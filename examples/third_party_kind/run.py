"""Distils a classifier of waves without data, and only then looks at waves. About half a minute on a CPU.

python run.py [OUT]      OUT: the run directory, must not exist (default: series-run)
"""

import sys
from pathlib import Path

import torch
from sansdata_series.waves import large, waves

import sansdata
from sansdata.datasets.labelled import KindSet
from sansdata.network import Network


def trained(task: sansdata.Task, steps: int) -> torch.nn.Module:
    """What a vendor would hand over: a network that has seen labelled waves. Distillation never does."""
    network, stream = Network.of(large(task), task), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.module.parameters(), lr=3e-3)
    for _ in range(steps):
        series, labels = waves(task, 128, stream)
        loss = torch.nn.functional.cross_entropy(network(series).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.module


def main(out: str, training: int = 200, budget: str = "600steps") -> sansdata.Result:
    torch.manual_seed(0)
    task = sansdata.load_task(Path(__file__).parent / "waves.yaml")
    teacher = sansdata.Teacher.from_module(trained(task, training), task)
    small = "sansdata_series.waves:small"  # by name, so that its file says how to build it again
    result = sansdata.distill(teacher, small, "noise", budget, out, strict=True, settings={"threads": 1})
    series, labels = waves(task, 1000, torch.Generator().manual_seed(1))
    labelled = KindSet(task, series, labels.numpy(), task.class_names, "1,000 waves of random phase")
    found = sansdata.evaluate(result, labelled, teacher=teacher)
    print(f"the student names {found.accuracy:.1%} of the waves, its teacher {found.teacher_accuracy:.1%}")
    return result


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "series-run")
