"""Code of the user's that a SPEC names, which is imported only where the user names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import ConfigError

NO_CODE = ("timm", "torchvision", "shrink", "layers", "lora", "latents")
"""What stands before the colon of a SPEC that names no code of the user's."""


def code_of(spec: str) -> str | None:
    """The function 'package.module:function' that a SPEC names, with '@FILE' or without; None for every other SPEC."""
    name = spec.partition("@")[0]
    library, _, rest = name.partition(":")
    return name if library and rest and library not in NO_CODE else None


def require_code_named(
    of_file: Mapping[str, Any], written: Mapping[str, Any], names: Sequence[str], where: str
) -> None:
    """Raises ConfigError where a settings file names code that the command line does not name too.

    A settings file may be anybody's, for one lies in every run directory. names: the settings that hold SPECs.
    """
    named = {code_of(spec) for name in names for spec in _texts(written.get(name))}
    for name in names:
        for spec in () if name in written else _texts(of_file.get(name)):
            if (code := code_of(spec)) and code not in named:
                raise ConfigError(
                    f"{where}: {name} names the code {code[:200]}, which is imported only if you name it yourself: "
                    f"add --{name.removesuffix('s')} {spec[:200]}"
                )


def _texts(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(one, str)]
