"""The images of two houses. Only this file sees both: in life it would be two archives."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from sansdata.datasets.images import load_images

PER_PATIENT = 2


def scanner_b(images: np.ndarray) -> np.ndarray:
    """uint8 images with less contrast on a brighter ground."""
    return (images.astype(np.float32) * 0.65 + 50).clip(0, 255).astype(np.uint8)


def write_ward(folder: Path, data: str) -> dict[str, Path]:
    """cases.npz with cases.csv, half of the patients, and later.npz with later.csv, the other half; each patient was
    seen by one of two scanners. What the vendor learnt from is not among them."""
    images = load_images(data, None, "test")
    random = np.random.default_rng(0)
    order = random.permutation(len(images.labels))
    patients = np.empty(len(order), dtype=int)
    patients[order] = np.arange(len(order)) // PER_PATIENT
    of_b = patients % 2 == 1
    pixels = images.images.copy()
    pixels[of_b] = scanner_b(pixels[of_b])
    written = {}
    for name, part in (("cases", patients % 4 < 2), ("later", patients % 4 >= 2)):
        chosen = np.flatnonzero(part)
        written[name] = folder / f"{name}.npz"
        np.savez(written[name], x=pixels[chosen], y=np.asarray(images.labels)[chosen])
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["row", "patient_id", "scanner"])
            rows.writerows(
                [row, f"patient-{patients[one]:05d}", "B" if of_b[one] else "A"] for row, one in enumerate(chosen)
            )
    only_b = np.flatnonzero(of_b)
    np.savez(folder / "scanner-b.npz", x=pixels[only_b], y=np.asarray(images.labels)[only_b])
    return written
