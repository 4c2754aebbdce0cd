"""What a network's features are worth for another task: a linear probe on them, and a short fine-tune from them."""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import cosine
from ..datasets.imageset import ImageSet
from ..models.copying import duplicate
from ..models.modes import fixed
from ..network import Network
from ..runtime import Runtime
from ..streams import Streams
from ..tasks import Task
from ..teachers.base import head_of

BATCH, TUNE_BATCH, TUNE_LR = 256, 64, 0.05
PROBE_ITERATIONS = 300
LACK = "so that there is no feature vector to probe; a segmentation set asks for the maps inside instead"


def features_of(module: nn.Module, task: Task, data: ImageSet, runtime: Runtime) -> np.ndarray:
    """(N, D) float64: what enters the last linear layer, in eval mode, normalised as the module's own task is."""
    tap = f"{head_of(module, task, LACK)}:input"
    features = []
    with torch.no_grad(), fixed(runtime.place(module)):
        for images, _ in data.batches(BATCH):
            features.append(
                runtime.forward(Network.of(module, task), runtime.place(images), (tap,))
                .taps[tap]
                .double()
                .cpu()
                .numpy()
            )
    return np.concatenate(features)


class LinearProbe:
    """Multinomial logistic regression on standardised features (scikit-learn: L-BFGS, C = 1); no chance in it."""

    def __init__(self, features: np.ndarray, labels: np.ndarray) -> None:
        """features (N, D), labels (N,) of at least two classes."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        self.mean, self.scale = features.mean(0), features.std(0)
        self.scale[self.scale == 0] = 1  # a feature that is the same for every image says nothing
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            self.model = LogisticRegression(max_iter=PROBE_ITERATIONS).fit(self._scaled(features), labels)

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) / self.scale

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(N,) labels."""
        return self.model.predict(self._scaled(features))


def probe_accuracy(module: nn.Module, task: Task, train: ImageSet, test: ImageSet, runtime: Runtime) -> float:
    """The share 0..1 of `test` that a linear probe gets right, which learnt on the frozen features of `train`."""
    probe = LinearProbe(features_of(module, task, train, runtime), train.labels)
    return float((probe.predict(features_of(module, task, test, runtime)) == test.labels).mean())


def fine_tuned(module: nn.Module, task: Task, train: ImageSet, steps: int, runtime: Runtime) -> nn.Module:
    """A copy of `module`, for the classes of `train`, after `steps` steps of SGD on all of its weights.

    The last layer is a new one, zero at first; batches are drawn with seed 0. `module` stays as it was.
    """
    tuned, head = duplicate(module), head_of(module, task, LACK)
    width = tuned.get_submodule(head).in_features
    tuned.set_submodule(head, _blank_linear(int(width), len(train.class_names)))  # type: ignore[arg-type]
    runtime.place(tuned).requires_grad_(True).train()
    optimizer = torch.optim.SGD(tuned.parameters(), lr=TUNE_LR, momentum=0.9, weight_decay=5e-4)
    streams = Streams(0)
    with streams.as_global("dropout"):
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = TUNE_LR * cosine(step, steps)
            ids = torch.randint(len(train), (min(TUNE_BATCH, len(train)),), generator=streams("batches")).numpy()
            images, labels = next(train.subset(ids, "").batches(len(ids)))
            logits = runtime.forward(Network.of(tuned, task), runtime.place(images)).logits
            F.cross_entropy(logits, labels.to(runtime.device)).backward()
            runtime.step(optimizer)
    return tuned.eval()


def _blank_linear(inputs: int, outputs: int) -> nn.Linear:
    """All zero, drawn from no generator."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    return layer


def accuracy(module: nn.Module, task: Task, test: ImageSet, runtime: Runtime) -> float:
    """The share 0..1 of `test` whose class has the highest logit."""
    right = 0
    with torch.no_grad(), fixed(module):
        for images, labels in test.batches(BATCH):
            answers: Tensor = runtime.forward(Network.of(module, task), runtime.place(images)).logits.argmax(1).cpu()
            right += int((answers == labels).sum())
    return right / len(test)
