"""Strict settings: YAML files, `key=value` overrides, and one way to say what is wrong. No torch here."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, get_args, get_origin

import pydantic
import yaml

from .errors import ConfigError, MethodError, UserError, did_you_mean

MAX_YAML_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_BITS = 1024


class _Explaining(type(pydantic.BaseModel)):
    """`Class(field=...)` explains what is wrong as files do, with the class's own error."""

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **fields: Any) -> Any:
            try:
                return super().__call__(*args, **fields)
            except pydantic.ValidationError as fault:
                raise cls.wrong(_explained(cls, fault, cls.__name__)) from None


class Strict(pydantic.BaseModel, metaclass=_Explaining):
    """Frozen; an unknown key is an error; numbers must be finite. wrong: what its constructor raises."""

    wrong: ClassVar[type[UserError]] = ConfigError

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Text = Annotated[str, pydantic.Field(min_length=1)]
"""A text that names something. An empty one, as of a variable that is not set, would name the folder one is in, or be
taken for a setting that was left out."""
Model = TypeVar("Model", bound=pydantic.BaseModel)


def validate(model: type[Model], fields: Mapping[str, Any], where: str, error: type[UserError] = ConfigError) -> Model:
    """`model` from `fields`. Raises `error` with every faulty field, what came, and the nearest known name."""
    if not isinstance(fields, Mapping):
        raise error(f"{where}: expected settings by their names, as a mapping, got {_short(fields)}")
    try:
        return model.model_validate(dict(fields))
    except pydantic.ValidationError as fault:
        raise error(_explained(model, fault, where)) from None


def settings_of(
    model: type[Model], presets: Mapping[str, Mapping[str, Any]], preset: str, options: Mapping[str, Any], where: str
) -> Model:
    """The settings of a method: its defaults, then the preset's, then the user's. A section that is given in part keeps
    the other defaults of this method, not those of its type.

    Raises MethodError for an unknown preset, ConfigError for a wrong setting.
    """
    if preset != "default" and preset not in presets:
        raise MethodError(f"{where} has no preset '{preset}'. {did_you_mean(preset, ['default', *presets])}")
    fields, defaults = merged(presets.get(preset, {}), options), model()
    for key, value in fields.items():
        section = getattr(defaults, key, None)
        if isinstance(value, Mapping) and isinstance(section, Strict):
            fields[key] = merged(section.model_dump(), value)
    return validate(model, fields, where)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it, section by section."""
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result


def plain(value: Any, place: str = "") -> Any:
    """`value` as a file of settings could hold it, so that it can be written into one: numbers and arrays of NumPy and
    torch as plain ones, a path as text, any mapping as a dict; a section that was made in Python stays.

    place: where it stands, 'a.b'. Raises ValueError that names the place of anything else.
    """
    if place.count(".") > MAX_DEPTH:
        raise ValueError(f"{place[:80]}: nested deeper than {MAX_DEPTH} levels")
    if callable(getattr(value, "tolist", None)):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, Mapping):
        return {key: plain(item, f"{place}.{key}" if place else str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{place}.{number}") for number, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str, pydantic.BaseModel)):
        return value
    raise ValueError(f"{place or 'it'} is of the type {type(value).__name__}, which no file of settings can hold")


Options = Annotated[dict[str, Any], pydantic.BeforeValidator(plain)]
"""The settings of a method, which the method checks."""


def _explained(model: type[pydantic.BaseModel], fault: pydantic.ValidationError, where: str) -> str:
    """A line for every faulty field; a list that is too short because of a faulty item is not another fault."""
    faults = fault.errors()
    inner = {tuple(one["loc"])[:depth] for one in faults for depth in range(len(one["loc"]))}
    return "\n".join(f"{where}: {_explain(model, one)}" for one in faults if not one["loc"] or one["loc"] not in inner)


def _explain(model: type[pydantic.BaseModel], fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _fields_at(model, fault["loc"][:-1])
        return f"unknown setting '{path}'. {did_you_mean(str(fault['loc'][-1]), known)}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"'{path}' is missing"
    actual = "" if not path else f", got {_short(fault['input'])}"
    return f"'{path}': {message}{actual}" if path else message


def _fields_at(model: type[pydantic.BaseModel], path: Sequence[Any]) -> list[str]:
    for part in path:
        if isinstance(part, int):  # an item of a list, whose type was taken with the list
            continue
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        inner = next(iter(get_args(inner)), inner) if get_origin(inner) in (tuple, list) else inner
        if not (isinstance(inner, type) and issubclass(inner, pydantic.BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python prints, or lists within lists without end
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 80 else text[:77] + "..."


class _PlainLoader(yaml.SafeLoader):
    """YAML as data only: no tags beyond the plain ones, no aliases (which can blow up), no repeated keys.

    As in YAML 1.2, flags are true and false alone, and what begins with a nought or has a colon in it is no number: a
    level called no, 01 or 12:30 is text.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not accepted")
        if event.tag is not None:  # what a value is stands in the text itself; a tag can claim that 1 is a date
            raise yaml.YAMLError(f"tags ({_short(event.tag)[1:-1]}) are not accepted")
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError, KeyError) as fault:  # a 13th month, a number of 5,000 digits
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {fault}") from None

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"a list or mapping stands as a name (line {key.start_mark.line + 1})")
            if key.value in names:
                raise yaml.YAMLError(f"'{key.value}' is given twice (line {key.start_mark.line + 1})")
            names.add(key.value)
        return super().construct_mapping(node, deep)


def _read_as(tag: str, pattern: str, first: str) -> None:
    """Takes the plain values of `pattern`, which begin with one of the letters of `first`, for `tag`, and no others."""
    name, known = f"tag:yaml.org,2002:{tag}", _PlainLoader.yaml_implicit_resolvers
    _PlainLoader.yaml_implicit_resolvers = {
        letter: [one for one in rules if one[0] != name] for letter, rules in known.items()
    }
    _PlainLoader.add_implicit_resolver(name, re.compile(pattern), list(first))


_read_as("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_read_as(
    "float",
    r"^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    "-+0123456789.",
)
_read_as("int", r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$", "-+0123456789")


def parse_yaml(text: str, where: str, error: type[UserError] = ConfigError) -> Any:
    """Plain data from YAML text; anything else is `error`."""
    if len(text) > MAX_YAML_BYTES:
        raise error(f"{where}: larger than {MAX_YAML_BYTES:,} bytes; that is no settings file")
    try:
        value = yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as fault:
        raise error(f"{where}: not valid YAML: {' '.join(str(fault).split())}") from None
    except (RecursionError, ValueError, TypeError, IndexError) as fault:
        raise error(f"{where}: cannot be read as settings ({type(fault).__name__}: {_short(str(fault))})") from None
    _check_plain(value, where, "", error)
    return value


def _check_plain(value: Any, where: str, path: str, error: type[UserError], depth: int = 0) -> None:
    """Raises `error` for what YAML can say and no setting means: dates, sets, endless numbers, broken text, depth."""
    if depth > MAX_DEPTH:
        raise error(f"{where}: nested deeper than {MAX_DEPTH} levels")
    place = f"{where}: '{path}'" if path else where
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise error(f"{place} holds half a character (a lone surrogate): {_short(value)}")
        if "\0" in value:  # no name and no path has one
            raise error(f"{place} holds a NUL: {_short(value)}")
    elif isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise error(f"{place} is a number of more than {MAX_BITS} bits")
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_plain(key, where, path, error, depth + 1)
            _check_plain(item, where, f"{path}.{key}" if path else str(key), error, depth + 1)
    elif not (value is None or isinstance(value, float)):
        raise error(f"{place} is read by YAML as a {type(value).__name__}; put it in quotes if it is text")


def read_yaml(path: str | Path, error: type[UserError] = ConfigError) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `error` where the file is missing, too large, or no mapping."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)  # a device has no size, and no end either
        if len(data) > MAX_YAML_BYTES:
            raise error(f"{path}: larger than {MAX_YAML_BYTES:,} bytes; that is no settings file")
        text = data.decode()
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise error(f"{path}: cannot be read ({reason})") from None
    value = parse_yaml(text, str(path), error)
    if not isinstance(value, dict):
        raise error(f"{path}: expected 'name: value' lines, got {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise error(f"{path}: setting names must be text, got {_short(key)}")
    return value


def parse_override(text: str) -> tuple[str, Any]:
    """'a.b=value' as ('a.b', value), the value read as YAML. Raises ConfigError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or any(not part for part in key.split(".")):
        raise ConfigError(f"'{_short(text)[1:-1]}' is not of the form key=value (or section.key=value)")
    parsed = parse_yaml(value, key)
    if isinstance(parsed, str):  # YAML 1.1 reads 1e5 and 3e-4 as text
        try:
            number = float(parsed)
            parsed = number if math.isfinite(number) else parsed
        except ValueError:
            pass
    return key, parsed


def set_dotted(tree: dict[str, Any], key: str, value: Any) -> None:
    """Puts `value` at 'a.b.c' into nested dicts. Raises ConfigError where a part of the way is no section."""
    *sections, last = key.split(".")
    if len(sections) > MAX_DEPTH:
        raise ConfigError(f"{_short(key)}: nested deeper than {MAX_DEPTH} levels")
    for part in sections:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"'{key}': '{part}' is a single value, not a section")
    tree[last] = value


class _PlainDumper(yaml.SafeDumper):
    """Writes what `parse_yaml` reads: a list that is meant twice stands there twice, not as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Unquoted or in single quotes, the library folds an odd line break or control character into a space.
        style = None if data.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_PlainDumper.add_representer(str, _PlainDumper.represent_str)


def dump_yaml(value: Any) -> str:
    """YAML text with the order kept; `parse_yaml` gives the value back."""
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)
