"""A folder of signed bundles, of which one is in use: the file CURRENT names it. To go back is to name another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError, ConfigError, SansdataError, first_line
from ..files import exclusive, is_regular, read_regular, reason, write_atomic
from ..signing import Key
from ..teachers.bundle import is_bundle
from ..teachers.bundle.verify import verify

CURRENT = "CURRENT"
MAX_ENTRIES = 1_000
MAX_NAME_BYTES = 1_000
Version = tuple[int, ...]


@dataclass(frozen=True)
class RolledBack:
    """before, now: names in the folder. version: of what is in use now. passed_over: earlier bundles that did not pass
    a check, and why."""

    before: str
    now: str
    version: str
    passed_over: tuple[str, ...]


def rollback(store: Path, key: Key) -> RolledBack:
    """Puts the last version before the current one into use, of those whose signature and every other check hold, by
    writing its name into CURRENT at once or not at all. Without a CURRENT the highest version that holds is the current
    one.

    Raises ConfigError where the folder holds no bundle, or none to go back to; then CURRENT is as it was.
    """
    with _alone(store):
        sound, passed_over = _sound(store, key)
        before = _current(store, sound)
        limit = sound.get(before)
        earlier = {name: version for name, version in sound.items() if limit is None or version < limit}
        earlier.pop(before, None)
        if not earlier:
            why = "; ".join(passed_over) or "there is no other"
            raise ConfigError(f"{store}: no bundle to go back to from {before} ({why}); {CURRENT} is as it was")
        now = max(earlier, key=lambda name: (earlier[name], name))
        try:
            write_atomic(store / CURRENT, f"{now}\n")
        except OSError as fault:
            raise ConfigError(f"{store / CURRENT} cannot be written ({reason(fault)})") from None
    return RolledBack(before, now, ".".join(map(str, earlier[now])), tuple(passed_over))


def _alone(store: Path):
    if not store.is_dir():
        raise ConfigError(f"{store}: expected a folder of bundles, found none there")
    return exclusive(store)


def _sound(store: Path, key: Key) -> tuple[dict[str, Version], list[str]]:
    """(name -> version of each bundle that holds, why others do not)."""
    names = sorted(path.name for path in store.iterdir() if is_bundle(str(path)))
    if not names:
        raise ConfigError(f"{store}: holds no bundle, neither a folder nor a .zip file")
    if len(names) > MAX_ENTRIES:
        raise ConfigError(f"{store}: {len(names):,} bundles, more than {MAX_ENTRIES:,}")
    sound, passed_over = {}, []
    for name in names:
        try:
            sound[name] = _numbers(verify(store / name, key).metadata.version)
        except BundleError as fault:
            passed_over.append(f"{name}: {fault.reason}")
        except SansdataError as fault:
            passed_over.append(f"{name}: {first_line(fault)}")
    return sound, passed_over


def _current(store: Path, sound: dict[str, Version]) -> str:
    """The bundle in use, sound or not: it may be what is to be left."""
    path = store / CURRENT
    if not is_regular(path):
        if not sound:
            raise ConfigError(f"{store}: no bundle in it passes its checks, and {CURRENT} names none")
        return max(sound, key=lambda name: (sound[name], name))
    try:
        name = read_regular(path, MAX_NAME_BYTES).decode().strip()
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{path}: cannot be read ({reason(fault)})") from None
    if name != Path(name).name or not is_bundle(str(store / name)):
        raise ConfigError(f"{path}: names {name[:80]!r}, which is no bundle of this folder")
    return name


def _numbers(version: str) -> Version:
    return tuple(int(part) for part in version.split("."))
