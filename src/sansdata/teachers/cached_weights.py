"""Where the pretrained weights of a named network lie: the files of that network in the caches of timm, torchvision and
the Hugging Face hub, which hold data sets too."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from urllib.parse import urlparse

import torch


def cached_weights(spec: str) -> list[Path]:
    """What loading timm:NAME or torchvision:NAME may read: files and, of the hub, the folder of that one model.

    Empty for every other spec, and where the library cannot be imported or does not know the name: building it says so.
    """
    library, _, name = spec.partition(":")
    finder = {"timm": _of_timm, "torchvision": _of_torchvision}.get(library)
    if finder is None or "@" in spec:
        return []
    try:
        return finder(name)
    except Exception:  # whatever a library dies of; it will be asked again, and then its answer is told
        return []


def _of_torchvision(name: str) -> list[Path]:
    weights = import_module("torchvision").models.get_model_weights(name).DEFAULT
    return [_of_url(weights.url)]


def _of_timm(name: str) -> list[Path]:
    config = import_module("timm").models.get_pretrained_cfg(name)
    files = [_of_url(config.url)] if isinstance(config.url, str) and config.url else []
    return files + (_of_hub(config.hf_hub_id) if config.hf_hub_id else [])


def _of_url(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(urlparse(url).path)


def _of_hub(model: str) -> list[Path]:
    """The model's folder, its files in the store that all models share, and the token that the hub's client reads."""
    constants = import_module("huggingface_hub.constants")
    cache = Path(constants.HF_HUB_CACHE)
    folder, shared = cache / f"models--{model.replace('/', '--')}", (cache / "blobs").resolve()
    files = [path.resolve() for path in (folder / "snapshots").rglob("*") if path.is_symlink()]
    in_store = [file for file in files if file.is_relative_to(shared)]
    return [folder, *in_store, Path(constants.HF_TOKEN_PATH), Path(constants.HF_STORED_TOKENS_PATH)]
