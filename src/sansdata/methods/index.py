"""The one table of methods. Third parties add theirs by the entry-point group 'sansdata.methods'."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..config import settings_of
from ..errors import MethodError, did_you_mean, first_line
from ..method import Method
from .contract import require_class

METHODS = {
    "noise": ("noise:Noise", "the floor: the teacher's answers on random images"),
    "dafl": ("dafl:DAFL", "a generator the teacher judges; fresh batches (Chen et al. 2019)"),
    "zskt": ("zskt:ZSKT", "a generator against the student; each batch taught ten times (Micaelli & Storkey 2019)"),
    "dfad": ("dfad:DFAD", "a generator against the student, mean absolute error; fresh batches (Fang et al. 2019)"),
    "dfme": (
        "dfme:DFME",
        "only asks: dfad's game by estimated gradients; fresh batches (Truong et al. 2021)",
    ),
    "maze": ("maze:MAZE", "only asks: dfme by KL, and what was answered is taught again (Kariyappa et al. 2021)"),
    "dual-students": (
        "dual_students:DualStudents",
        "only asks, labels will do: a generator between two students (Beetham et al. 2023)",
    ),
    "disguide": (
        "disguide:DisGUIDE",
        "only asks, labels will do: two students disagree, classes even; replay (Rosenthal et al. 2023)",
    ),
    "ideal": ("ideal:IDEAL", "labels alone: a new generator a round, each image asked once; pool (Zhang et al. 2023)"),
    "zsdb3kd": (
        "zsdb3kd:ZSDB3KD",
        "labels alone, very many questions: noise moved away from the boundary; pool (Wang 2021)",
    ),
    "dfms": (
        "dfms:DFMS",
        "labels alone, needs --pool: a GAN on unrelated images that seeks every class (Sanyal et al. 2022)",
    ),
    "deepinversion": (
        "deepinversion:DeepInversion",
        "pixels optimised to BatchNorm statistics; pool (Yin et al. 2020)",
    ),
    "adi": ("adi:ADI", "DeepInversion that also seeks what the student gets wrong (Yin et al. 2020)"),
    "mixmix": ("mixmix:MixMix", "pixels optimised for several teachers and pasted into one another (Li et al. 2021)"),
    "zskd": ("zskd:ZSKD", "pixels optimised to soft labels drawn around each class; pool (Nayak et al. 2019)"),
    "fm": ("fm:FM", "meta-learned generator, k steps a batch; pool (Fang et al. 2022)"),
    "cmi": ("cmi:CMI", "a generator a batch, images told apart by contrast; pool (Fang et al. 2021)"),
    "nayer": ("nayer:NAYER", "class embeddings through a noisy layer; pool (Tran et al. 2024)"),
    "muse": ("muse:MUSE", "NAYER at several sizes below the teacher's; a reconstruction; pool (Tran et al. 2024)"),
    "cae-dfkd": ("cae_dfkd:CAEDFKD", "diffused class embeddings, contrast in the student; pool (Zhang et al. 2025)"),
    "diffdfkd": (
        "diffdfkd:DiffDFKD",
        "a denoiser's samples, steered by the teacher: outside knowledge; pool (Qi et al. 2025)",
    ),
    "pool-kd": ("pool_kd:PoolKD", "needs --pool: the teacher's answers on given images; their floor"),
    "dfnd": (
        "dfnd:DFND",
        "needs --pool: what the teacher is surest of, through a noise matrix (Chen et al. 2021)",
    ),
    "mosaickd": (
        "mosaickd:MosaicKD",
        "needs --pool: a generator that makes ours of their patches; fresh batches (Fang et al. 2021)",
    ),
    "tabkd": ("tabkd:TabKD", "tables: rows that cross the teacher's boundaries and cover its bins; pool (after TabKD)"),
    "zerogen": ("zerogen:ZeroGen", "texts: a language model writes them, class by class; pool (Ye et al. 2022)"),
    "zerogen-qa": (
        "zerogen.qa:ZeroGenQA",
        "contexts: a language model asks for parts of them, a reader learns to point; pool (Ye et al. 2022)",
    ),
    "promptdfd": (
        "promptdfd:PromptDFD",
        "texts: a language model goes on with beginnings that REINFORCE finds; pool (Ma et al. 2022)",
    ),
    "masked-kd": (
        "masked_kd:MaskedKD",
        "texts: a masked language model fills gaps where the student errs; fresh batches (Rashid et al. 2021)",
    ),
    "as-dfd": ("as_dfd:ASDFD", "texts: vectors in the place of words, against the student; pool (Ma et al. 2020)"),
    "echo-dfkd": (
        "echo_dfkd:EchoDFKD",
        "clips: films of a beating phantom, labelled once; pool (Petit et al. 2024)",
    ),
    "af-stip": ("af_stip:AFStip", "code: vectors, a grammar or resampled tokens; a reconstruction (Wang & Jiang 2024)"),
    "boot": ("boot:BOOT", "generators: a denoiser into one step or a few, from noise alone (Gu et al. 2023)"),
    "fair4free": (
        "fair4free:Fair4Free",
        "latents of a fair autoencoder of a table, drawn from noise; fresh batches (Sikder et al. 2024)",
    ),
    "bidf-mkd": ("bidf_mkd:BiDfMKD", "a panel of APIs into a few-shot meta model, by asking; pool (Hu et al. 2023)"),
    "frami": ("frami:FRAMI", "sounds: gains on a source, optimised to BatchNorm statistics; pool (after FRAMI)"),
    "udistil": ("udistil:UDistil", "sounds: a pseudo-label for speech of programs, sifted; pool (Waheed et al. 2024)"),
    "kd3": ("kd3:KD3", "needs --pool: chosen anew every epoch, through the teacher's classifier (Tang et al. 2023)"),
}
"""name -> (module:class in this package, one line)."""

GROUP = "sansdata.methods"


def method_names() -> dict[str, str]:
    """Every known method and one line about it, our own first."""
    names = {name: line for name, (_, line) in METHODS.items()}
    for entry in entry_points(group=GROUP):
        names.setdefault(entry.name, f"from {entry.value}")
    return names


def find_method(name: str | type[Method]) -> type[Method]:
    """The class of a method; a class is itself.

    Raises MethodError for an unknown name, one whose package does not load, or a class that is no whole method.
    """
    if not isinstance(name, str):
        return require_class(name)
    if name in METHODS:
        module, _, attribute = METHODS[name][0].partition(":")
        return getattr(import_module(f".{module}", __package__), attribute)
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return _of_third_party(entry)
    if ":" in name:
        raise MethodError(
            f"method '{name[:100]}' is a class that was given in Python: give it again, sansdata.distill(method=...), "
            "or put it into a package (docs/adding-a-method.md)"
        )
    raise MethodError(f"unknown method '{name[:100]}'. {did_you_mean(name[:100], method_names())}")


def _of_third_party(entry: EntryPoint) -> type[Method]:
    """Raises MethodError where the package is broken, whatever it does when it is imported."""
    where = f"method '{entry.name}' of {entry.value}"
    try:
        loaded = require_class(entry.load(), where)
        loaded.requires(loaded.Config())
    except (Exception, SystemExit) as fault:
        raise MethodError(f"{where} does not load: {first_line(fault)}") from fault
    return loaded


def name_of(method: str | type[Method]) -> str:
    """How the settings of a run name a method; a class that is given in Python by where it was made, as in
    '__main__:Mine'."""
    return method if isinstance(method, str) else f"{method.__module__}:{method.__qualname__}"


def method_config(name: str | type[Method], preset: str, options: Mapping[str, Any]) -> Any:
    """The method's settings: its defaults, then the preset's, then the user's.

    Raises MethodError for an unknown preset, ConfigError for a wrong setting.
    """
    cls = find_method(name)
    return settings_of(cls.Config, cls.presets, preset, options, f"method '{name_of(name)}'")
