"""What the papers report, in one place: shown beside our runs for orientation. Data only.

Nearly every figure is the best epoch on the test set, after hours on a GPU: no like-for-like comparison.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One figure. accuracy: top-1 on the test set, per cent. setting: which variant, where the paper has several."""

    data: str
    teacher: str
    student: str
    accuracy: float
    source: str
    setting: str = ""


_DAFL = "Chen et al. 2019, tables 1 and 3"
_CMI = "Fang et al. 2021 (CMI), table 1"
_FM = "Fang et al. 2022, tables 1 to 3"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "noise": (
        Published("MNIST", "LeNet-5", "LeNet-5-half", 88.01, _DAFL, "normal noise"),
        Published("CIFAR-10", "ResNet-34", "ResNet-18", 14.89, _DAFL, "normal noise"),
        Published("CIFAR-100", "ResNet-34", "ResNet-18", 1.44, _DAFL, "normal noise"),
    ),
    "dafl": (
        Published("MNIST", "LeNet-5", "LeNet-5-half", 98.20, _DAFL),
        Published("CIFAR-10", "ResNet-34", "ResNet-18", 92.22, _DAFL),
        Published("CIFAR-100", "ResNet-34", "ResNet-18", 74.47, _DAFL),
    ),
    "deepinversion": (
        Published("CIFAR-10", "ResNet-34", "ResNet-18", 93.26, _CMI, "adaptive, 2000 iterations"),
        Published("CIFAR-100", "ResNet-34", "ResNet-18", 61.32, _CMI, "adaptive, 2000 iterations"),
        Published("ImageNet", "ResNet-50", "ResNet-50", 68.00, _FM, "140,000 images"),
    ),
    "fm": (
        Published("CIFAR-10", "ResNet-34", "ResNet-18", 92.62, _FM, "k = 2"),
        Published("CIFAR-10", "ResNet-34", "ResNet-18", 93.63, _FM, "k = 5"),
        Published("CIFAR-10", "ResNet-34", "ResNet-18", 94.05, _FM, "k = 10"),
        Published("CIFAR-100", "ResNet-34", "ResNet-18", 72.82, _FM, "k = 5"),
        Published("ImageNet", "ResNet-50", "ResNet-18", 53.45, _FM, "k = 50"),
    ),
}
"""method -> its figures."""
