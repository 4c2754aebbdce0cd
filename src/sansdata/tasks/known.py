"""Tasks that have a name."""

from __future__ import annotations

from .base import ImageTask, PairTask, Task
from .classes import ClassesSpec
from .known_tables import KNOWN_TABLES
from .waveform import WaveformSpec

_DIGITS = tuple(str(i) for i in range(10))
_FASHION = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_SPOKEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

KNOWN_TASKS: dict[str, Task] = {
    "digits": ImageTask(shape=(1, 8, 8), classes=10, mean=(0.305,), std=(0.376,), class_names=_DIGITS),
    "mnist": ImageTask(shape=(1, 28, 28), classes=10, mean=(0.1307,), std=(0.3081,), class_names=_DIGITS),
    "mnist-32": ImageTask(shape=(1, 32, 32), classes=10, mean=(0.1307,), std=(0.3081,), class_names=_DIGITS),
    "fashion-mnist": ImageTask(shape=(1, 28, 28), classes=10, mean=(0.286,), std=(0.353,), class_names=_FASHION),
    "pneumoniamnist": ImageTask(
        shape=(1, 28, 28), classes=2, mean=(0.572,), std=(0.168,), class_names=("normal", "pneumonia")
    ),
    "cifar10": ImageTask(
        shape=(3, 32, 32),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.247, 0.2435, 0.2616),
        class_names=_CIFAR10,
    ),
    "cifar100": ImageTask(shape=(3, 32, 32), classes=100, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
    "svhn": ImageTask(
        shape=(3, 32, 32),
        classes=10,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.198, 0.201, 0.197),
        class_names=_DIGITS,
    ),
    "tiny-imagenet": ImageTask(shape=(3, 64, 64), classes=200, mean=(0.48, 0.448, 0.398), std=(0.277, 0.269, 0.282)),
    "imagenet": ImageTask(shape=(3, 224, 224), classes=1000, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "spoken-digits": PairTask(
        inputs=WaveformSpec(rate=8000, length=8000), outputs=ClassesSpec(classes=10, class_names=_SPOKEN)
    ),
    **KNOWN_TABLES,
}
