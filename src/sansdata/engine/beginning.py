"""Whether a run may begin, as far as that is known before a model is read: `distill` and `--dry-run` ask the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..method import Method
from ..methods.contract import require_given
from ..methods.index import find_method, method_config
from ..process_group import place_in_group
from ..settings import RunSettings
from ..signing import Key
from ..teachers.base import Teacher
from ..teachers.panel_file import specs_in
from ..teachers.services import services
from ..teachers.specs import import_libraries
from .monitor import require_tensorboard
from .seal.sealing import signing_key


@dataclass(frozen=True)
class Needs:
    """What a run needs. sources: SPECs of the teacher and its helpers, or what they were made of, and of others;
    others: SPEC -> role of models beside them; key: signs the end of a sealed run."""

    sources: tuple[str, ...]
    others: Mapping[str, str]
    key: Key | None


def may_begin(
    settings: RunSettings,
    teacher: Teacher | None = None,
    method: type[Method] | None = None,
    sign: str | Path | None = None,
) -> Needs:
    """Whether a run may begin, as far as that is known before a model is read; imports the libraries that it needs.

    Raises ConfigError for a key that cannot sign, or has nothing to sign, and for a sealed run that would ask a service
    or is of several processes, MissingLibraryError, and what wrong settings of the method raise.
    """
    if sign is not None and not settings.sealed:
        raise ConfigError("a key signs the record of a sealed run: add --sealed, or leave --sign out")
    key = None if sign is None else signing_key(sign)
    if settings.sealed and place_in_group()[1] > 1:
        raise ConfigError("a sealed run is one process: several talk to one another, which nobody could follow")
    if settings.engine.tensorboard:
        require_tensorboard()
    specs = [one for spec in (settings.teacher, *settings.helpers) for one in specs_in(spec)]
    others = _models_named(settings, method)
    import_libraries([*specs, *others])
    made = [] if teacher is None else [member.source for member in teacher.members]
    needs = Needs((*specs, *others, *made), others, key)
    hosts = [host for source in needs.sources for host in services(source).values()]
    if settings.sealed and hosts:
        raise ConfigError(f"a sealed run asks nobody: {', '.join(hosts)} lies behind a network")
    return needs


def _models_named(settings: RunSettings, method: type[Method] | None) -> Mapping[str, str]:
    """SPEC -> role of models beside the teacher that the method's settings name. Raises what wrong settings raise."""
    if method is None and settings.method == "auto":
        return {}
    cls = find_method(method or settings.method)
    config = method_config(method or settings.method, settings.preset, settings.options)
    return require_given(cls, "models(config)", cls.models(config), Mapping)
