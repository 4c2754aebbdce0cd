"""Teachers with a backdoor, trained once and kept: what a defence is tested on.

As a script: python -m sansdata.reproduce.poisoned --data mnist --task mnist-32 --network lenet5 --attack blend
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
from pathlib import Path

from ..audit.attacks import ATTACKS, find_attack, poison
from ..datasets.images import holdout, load_images
from ..datasets.imageset import ImageSet
from ..tasks import load_task
from .supervised import train
from .teachers import cache, keep_weights

RATIO = 0.1
"""Share of the training images that carry the trigger (ABD)."""
RATE = 0.05
"""Highest learning rate; networks without BatchNorm do not stand the recipes' 0.1."""


def ensure_poisoned_teacher(
    data: ImageSet, task: str, network: str, attack: str, epochs: int, target: int = 0, folder: Path | None = None
) -> Path:
    """The file of a teacher trained on `data`, a tenth of it poisoned; trained first where it is not there.

    folder: where it is kept; None is the recipes' cache. Several processes may ask at once: one trains, the others
    wait. The name holds a hash of the poisoned set. Raises ConfigError for an unknown attack, DataError for a target
    that is no class.
    """

    poisoned = poison(data, find_attack(attack), target, RATIO)
    name = data.source.split(" ")[0]
    content = hashlib.sha256(poisoned.images.tobytes() + poisoned.labels.tobytes()).hexdigest()[:8]
    path = (folder or cache()) / f"{name}-{task}-{network}-{attack}-{target}-{epochs}-{content}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            print(f"training the poisoned teacher {path.stem}", flush=True)
            module = train(network, poisoned, load_task(task), epochs, lr=RATE)
            keep_weights(path, module)
    return path


def main() -> None:
    """Prints the path of the teacher that the arguments ask for."""
    parser = argparse.ArgumentParser(description="Train an image classifier with a backdoor, to test a defence with.")
    parser.add_argument("--data", required=True, help="a known set, a folder or an .npz file")
    parser.add_argument("--task", required=True, help="a known task or a YAML file")
    parser.add_argument("--network", required=True, help="a network of `sansdata list models`")
    parser.add_argument("--attack", required=True, choices=sorted(ATTACKS))
    parser.add_argument("--target", type=int, default=0, help="the class that the trigger is to bring")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--held-out", type=int, default=5000, help="images left out, for choosing settings")
    parser.add_argument("--out", type=Path, default=None, help="folder; the recipes' cache where left out")
    arguments = parser.parse_args()
    whole = load_images(arguments.data, load_task(arguments.task), "train")
    rest = holdout(whole, arguments.held_out, seed=0)[0] if arguments.held_out else whole
    attack = (arguments.task, arguments.network, arguments.attack, arguments.epochs, arguments.target, arguments.out)
    print(ensure_poisoned_teacher(rest, *attack))


if __name__ == "__main__":
    main()
