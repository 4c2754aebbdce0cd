"""Builds run directories as the engine writes them, without running anything."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LOSSES = ("acquire/ce", "acquire/bn", "acquire/adversarial", "transfer/kl")


def manifest(names: tuple[str, ...] = CIFAR, **changes: Any) -> dict[str, Any]:
    return {
        "sansdata": "0.1.0",
        "status": "done",
        "command": "sansdata distill --teacher resnet34.safetensors --task cifar10 --method fm --budget 10m",
        "method": "fm",
        "seed": 7,
        "config_hash": "9f1c2ab77d01",
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-02T03:13:20+00:00",
        "seconds": 555.0,
        "versions": {"python": "3.12.3", "torch": "2.13.0", "numpy": "2.4.6"},
        "machine": {"system": "Linux 6.1", "processor": "x86_64", "cores": 2, "memory_gb": 15.6},
        "threads": 2,
        "device": "cpu",
        "precision": "bf16",
        "world": 1,
        "teacher": {
            "source": "resnet34.safetensors",
            "parameters": 21_282_122,
            "fingerprint": "sha256:77aa01",
            "access": "WEIGHTS",
            "batch_norms": 36,
        },
        "student": {"spec": "zoo:resnet18-half", "parameters": 2_797_610, "architecture": "resnet18, half width"},
        "task": {"kind": "image", "shape": [3, 32, 32], "classes": len(names), "class_names": list(names)},
        "resumed": [],
        "forced": [],
    } | changes


def metrics(lines: int, losses: tuple[str, ...] = LOSSES) -> list[dict[str, Any]]:
    noise = np.random.default_rng(0)
    found = []
    for i in range(lines):
        fall = math.exp(-5 * i / max(lines, 1))
        drawn = {
            name: (place + 1) * (fall + 0.01) * float(noise.lognormal(0, 0.3)) for place, name in enumerate(losses)
        }
        line: dict[str, Any] = {
            "step": 10 * i,
            "move": "transfer",
            "progress": i / max(lines, 1),
            "seconds": i * 0.4,
            "losses": drawn,
            "lr": 0.05 * (1 + math.cos(math.pi * i / max(lines, 1))),
            "samples_per_second": 900.0,
        }
        if i % 25 == 0:
            line["agreement"] = 0.9 - 0.8 * fall
        found.append(line)
    return found


def summary(classes: int = 10) -> dict[str, Any]:
    histogram = [int(40 + 30 * math.sin(label)) for label in range(classes)]
    snapshots = []
    for i in range(6):
        one = {"step": 500 * (i + 1), "agreement": (0.61, 0.68, 0.75, 0.8, 0.8423, 0.8317)[i], "kl": 1.2 / (i + 1)}
        snapshots.append(one)
    return {
        "steps": 3000,
        "cost": {
            "seconds": 555.0,
            "seconds_acquire": 310.5,
            "seconds_transfer": 228.0,
            "samples": 184_320,
            "teacher_queries": 412_000,
            "teacher_forwards": 3210,
            "teacher_backwards": 1502,
            "student_forwards": 6020,
            "student_backwards": 3001,
            "peak_memory_mb": 1830.5,
        },
        "agreement": {"last": 0.8317, "best": 0.8423},
        "selection": {"snapshots": snapshots, "best_step": 2500, "scored_on": 512},
        "samples": {
            "class_histogram": histogram,
            "class_entropy": 0.953,
            "confidence": 0.883,
            "saturated": 0.062,
            "pairwise_distance": 0.241,
            "scored": sum(histogram),
        },
        "warnings": [
            {"name": "class imbalance", "value": 0.31, "text": "4 classes have less than half their fair share."}
        ],
    }


def scored(summary: dict[str, Any], last: float = 0.42, best: float = 0.47) -> dict[str, Any]:
    """`summary` with the score on probe images, as runs have it since there is one."""
    rows = summary["selection"]["snapshots"]
    for row in rows:
        row["score"] = best if row["step"] == 2500 else last
    summary["score"] = {"last": last, "best": best, "probes": 256, "queries": 6400}
    return summary


def evaluation(classes: int = 10) -> dict[str, Any]:
    noise = np.random.default_rng(1)
    confusion = noise.poisson(1.5 if classes <= 100 else 0.05, (classes, classes))
    confusion[np.arange(classes), np.arange(classes)] = 60 + noise.integers(0, 40, classes)
    right = np.diag(confusion) / confusion.sum(1)
    bins = []
    for i in range(10):
        number = 0 if i == 0 else 20 * i * i
        inside = {"confidence": i / 10 + 0.05, "accuracy": max(0.0, i / 10 - 0.03)} if number else {}
        bins.append({"low": i / 10, "high": (i + 1) / 10, "count": number, **inside})
    return {
        "accuracy": 0.8642,
        "accuracy_interval": [0.8573, 0.8709],
        "count": 10_000,
        "source": "cifar10 (test)",
        "notes": ["Images were resized from 64x64 to 32x32."],
        "per_class": right.tolist(),
        "confusion": confusion.tolist(),
        "ece": 0.0471,
        "nll": 0.512,
        "brier": 0.203,
        "mean_confidence": 0.911,
        "reliability": bins,
        "teacher_accuracy": 0.9512,
        "agreement": 0.8817,
        "kl": 0.4021,
        "over_time": {str(500 * (i + 1)): 0.5 + 0.055 * i for i in range(6)},
    }


def ledger(**changes: Any) -> dict[str, Any]:
    return {
        "mode": "strict",
        "files": [
            {"path": "resnet34.safetensors", "role": "teacher", "sha256": "ab12" * 16, "bytes": 85_200_000},
            {"path": "runs/fm/config.yaml", "role": "run", "sha256": "cd34" * 16, "bytes": 912},
        ],
        "violations": [],
    } | changes


def write_grid(
    directory: Path, step: int, side: int = 32, channels: int = 3, classes: int = 10, number: int = 16
) -> None:
    """Blobs that get sharper with the steps, so that the pictures look like a run."""
    noise = np.random.default_rng(step)
    y, x = np.mgrid[0:side, 0:side] / side
    images = np.empty((number, side, side, channels))
    for i in range(number):
        for c in range(channels):
            a, b, f = noise.uniform((0.2, 0.2, 4), (0.8, 0.8, 12)).tolist()
            images[i, :, :, c] = 0.5 + 0.5 * np.cos(f * np.hypot(x - a, y - b) * 3)
    images = 0.7 * images + 0.3 * noise.random(images.shape)
    logits = noise.normal(0, 1 + step / 800, (number, classes)).astype(np.float32)
    (directory / "samples").mkdir(exist_ok=True)
    np.savez(directory / "samples" / f"step-{step:06d}.npz", images=(255 * images).astype(np.uint8), logits=logits)


def write_lines(directory: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory / "metrics.jsonl").write_text(text, encoding="utf-8")


def write_json(directory: Path, name: str, value: Any) -> None:
    (directory / name).write_text(json.dumps(value), encoding="utf-8")


def build(directory: Path, grids: int = 5, lines: int = 300) -> Path:
    """A whole finished run in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory, "run.json", manifest())
    write_json(directory, "plan.json", {"budget": "10m", "steps": 3000, "moves": {"acquire": 600}, "replans": []})
    write_json(directory, "summary.json", summary())
    write_json(directory, "ledger.json", ledger())
    (directory / "config.yaml").write_text("method: fm\nbudget: 10m\nseed: 7\n", encoding="utf-8")
    write_lines(directory, metrics(lines))
    for i in range(grids):
        write_grid(directory, 600 * (i + 1))
    return directory
