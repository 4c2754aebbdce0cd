"""Settings from files, flags and key=value: who wins, what comes back, and that faults name the field and the mend."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sansdata.code_named import code_of
from sansdata.config import dump_yaml, merged, parse_override, parse_yaml, plain, set_dotted, validate
from sansdata.errors import ConfigError, MethodError, TaskError, UserError
from sansdata.federated.settings import FederateSettings
from sansdata.methods.index import METHODS, find_method, method_config
from sansdata.settings import Budget, RunSettings, parse_budget, resolve_settings
from sansdata.tasks import KNOWN_TASKS, ImageTask, load_task

quick = settings(max_examples=50, deadline=None)


def outcome(call: Callable[[], Any], kind: type[UserError]) -> tuple[Any, str | None]:
    """What a call gave, or the message of the one kind of error it may raise."""
    try:
        return call(), None
    except kind as fault:
        return None, str(fault)


# -- text in, plain data out


def words(longest: int) -> st.SearchStrategy[str]:
    """Without NUL and half characters, which no setting may hold."""
    return st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=longest)


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | words(12)
finite = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e300, 1e300) | words(12)
trees = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(words(6), v, max_size=3))


@quick
@given(st.dictionaries(words(6), trees, max_size=4))
def test_what_is_dumped_reads_back(tree):
    assert parse_yaml(dump_yaml(tree), "here") == tree


def test_a_list_that_is_meant_twice_is_written_twice():
    shared = [1, 2]
    assert parse_yaml(dump_yaml({"a": shared, "b": shared}), "here") == {"a": [1, 2], "b": [1, 2]}


@quick
@given(st.text(max_size=60))
def test_any_text_is_data_or_a_user_error(text):
    value, fault = outcome(lambda: parse_yaml(text, "here"), ConfigError)
    if fault is not None:
        assert fault.startswith("here: ")
    else:
        assert value is None or isinstance(value, (str, int, float, list, dict))


PIECES = [
    "seed", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!", "!!python/name:", "|", ">", "? ", "<<",
    "'", '"', "#", "%", "0x", "1e400", ".nan", "2001-01-01", "~", "---", "engine", "é", "=", "\t",
]  # fmt: skip


def test_flags_and_numbers_are_those_of_yaml_1_2() -> None:
    read = parse_yaml("[true, False, no, on, 0, -7, 1_000, 0x1f, 010, 1:30, 1.5, .5, 1.5e3, 1e3, -.inf]", "here")
    assert read == [True, False, "no", "on", 0, -7, 1000, 31, "010", "1:30", 1.5, 0.5, 1500.0, "1e3", -math.inf]


yaml_like = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@settings(max_examples=150, deadline=None)
@given(yaml_like)
def test_any_file_is_settings_or_a_user_error_that_names_it(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text, encoding="utf-8")
    found, fault = outcome(lambda: resolve_settings(path, {}), ConfigError)
    assert "fuzz.yaml" in fault if fault is not None else isinstance(found, RunSettings)


wild = st.recursive(
    scalars | st.floats() | st.integers() | st.binary(max_size=3),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), v, max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(list(RunSettings.model_fields)) | st.text(max_size=5), wild, max_size=3))
def test_any_value_in_any_field_is_settings_or_a_config_error(fields):
    _, fault = outcome(lambda: resolve_settings(None, fields), ConfigError)
    assert fault is None or any(str(name) in fault for name in fields)


task_fields = st.sampled_from([*ImageTask.model_fields, "klasses"])


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(task_fields, wild, max_size=5))
def test_any_task_is_a_task_or_a_task_error(fields):
    good = {"shape": [1, 8, 8], "classes": 3, "mean": [0.5], "std": [0.2]}
    found, fault = outcome(lambda: load_task(good | fields), TaskError)
    assert any(name in fault for name in fields) if fault is not None else isinstance(found, ImageTask)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_option_of_any_method_is_settings_or_a_user_error(name, data):
    known = st.sampled_from([*find_method(name).Config.model_fields, "lambda"])
    options = data.draw(st.dictionaries(known, wild, max_size=3))
    _, fault = outcome(lambda: method_config(name, "default", options), UserError)
    assert fault is None or any(key in fault for key in options)


@quick
@given(st.text(max_size=30))
def test_any_override_is_a_pair_or_a_user_error(text):
    try:
        key, _ = parse_override(text)
    except ConfigError:
        return
    assert key
    assert "=" in text


# -- who wins


def test_a_flag_wins_over_the_file_and_key_value_over_both(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("seed: 1\nthreads: 1\nmethod: fm\noptions: {k: 2, latent: 9}\n")
    found = resolve_settings(file, {"seed": 2, "threads": None}, ["seed=3", "k=5", "engine.snapshots=2"])
    assert (found.seed, found.threads, found.method) == (3, 1, "fm")
    assert found.options == {"k": 5, "latent": 9}
    assert found.engine.snapshots == 2
    assert found.engine.log_every == 10  # what is not said keeps its default


def test_a_key_of_no_field_is_the_methods_own():
    assert resolve_settings(None, {}, ["transfer.lr=3e-4", "k=2"]).options == {"transfer": {"lr": 3e-4}, "k": 2}


@pytest.mark.parametrize(("text", "value"), [
    ("a=1", 1), ("a=1e5", 1e5), ("a=3e-4", 3e-4), ("a=true", True), ("a=null", None), ("a=", None), ("a=x y", "x y"),
    ("a=[l1, l2]", ["l1", "l2"]), ("a={b: 1}", {"b": 1}), ("a='1'", 1.0), ("a=nan", "nan"), ("a=b=c", "b=c"),
])  # fmt: skip
def test_values_are_read_as_yaml_and_numbers_as_people_write_them(text, value):
    assert parse_override(text) == ("a", value)


@quick
@given(st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=5), st.integers())
def test_a_dotted_key_lands_where_it_says(path, value):
    tree: dict[str, Any] = {}
    set_dotted(tree, ".".join(path), value)
    for part in path:
        tree = tree[part]
    assert tree == value


# -- a round trip of whole settings


@quick
@given(
    seed=st.integers(0, 2**63 - 1), strict=st.booleans(), hint=st.floats(0, 1e6), attention=st.floats(0, 1e6),
    seconds=st.floats(1e-3, 1e6), method=words(8).filter(bool),
    budget=st.none() | st.sampled_from(["10m", "5e4samples"]),
    options=st.dictionaries(words(5).filter(bool), finite | st.lists(finite, max_size=2), max_size=3),
)  # fmt: skip
def test_resolved_settings_written_and_read_are_the_same(tmp_path_factory, seed, strict, hint, attention, seconds,
                                                         method, budget, options):  # fmt: skip
    given = RunSettings(
        seed=seed, strict=strict, method=method, budget=budget, options=options,
        features={"hint": hint, "attention": attention}, engine={"checkpoint_seconds": seconds},
    )  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    path.write_text(dump_yaml(given.model_dump(mode="json")), encoding="utf-8")
    assert resolve_settings(path, {}) == given


@pytest.mark.parametrize("name", METHODS)
def test_every_methods_defaults_and_presets_round_trip(name):
    presets = ["default", *find_method(name).presets]
    for preset in presets:
        config = method_config(name, preset, {})
        again = method_config(name, "default", parse_yaml(dump_yaml(config.model_dump(mode="json")), name))
        assert again == config


@pytest.mark.parametrize("name", KNOWN_TASKS)
def test_known_tasks_round_trip_through_a_file(name, tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(dump_yaml(KNOWN_TASKS[name].model_dump(mode="json")))
    assert load_task(path) == KNOWN_TASKS[name]


def test_a_section_given_in_part_keeps_the_methods_other_defaults():
    dafl = method_config("dafl", "default", {"transfer": {"lr": 0.5}}).transfer
    assert (dafl.lr, dafl.weight_decay, dafl.batch) == (0.5, 5e-4, 1024)
    mnist = method_config("dafl", "mnist", {"transfer": {"lr": 0.5}})
    assert (mnist.transfer.lr, mnist.transfer.optimizer, mnist.latent) == (0.5, "adam", 100)
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        RunSettings().seed = 1  # type: ignore[misc]


# -- faults name the field and the nearest match


def test_the_nearest_name_is_offered():
    with pytest.raises(ConfigError, match=r"unknown setting 'buget'\. Did you mean 'budget'\?"):
        resolve_settings(None, {"buget": "1m"})
    with pytest.raises(ConfigError, match=r"unknown setting 'engine\.snapshot'\. Did you mean 'snapshots'\?"):
        resolve_settings(None, {}, ["engine.snapshot=1"])
    with pytest.raises(ConfigError, match=r"unknown setting 'transfer\.temprature'\. Did you mean 'temperature'\?"):
        method_config("fm", "default", {"transfer": {"temprature": 1}})
    with pytest.raises(MethodError, match=r"unknown method 'deepinversoin'\. Did you mean 'deepinversion'\?"):
        find_method("deepinversoin")
    with pytest.raises(MethodError, match=r"no preset 'mnits'\. Did you mean 'mnist'\?"):
        method_config("dafl", "mnits", {})
    with pytest.raises(TaskError, match=r"'cifar-10' is neither.*Did you mean 'cifar10'\?"):
        load_task("cifar-10")


def test_every_fault_of_a_file_is_listed():
    with pytest.raises(ConfigError) as caught:
        resolve_settings(None, {"seed": -1, "threads": "x", "engine": {"snapshots": 0}})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(name in str(caught.value) for name in ("'seed'", "'threads'", "'engine.snapshots'"))


def test_a_user_error_has_exit_code_2():
    assert {kind.exit_code for kind in (UserError, ConfigError, TaskError, MethodError)} == {2}


# -- budgets


@quick
@given(
    st.floats(1, 1e9),
    st.sampled_from(["s", "sec", "m", "min", "h", "steps", "samples", "queries"]),
    st.sampled_from(["", " ", "  "]),
    st.booleans(),
)
def test_a_budget_is_an_amount_with_a_unit(amount, unit, space, upper):
    text = f"{amount:.6f}{space}{unit.upper() if upper else unit}"
    found = parse_budget(text)
    factor = {"m": 60, "min": 60, "h": 3600}.get(unit, 1)
    assert found.amount == pytest.approx(float(f"{amount:.6f}") * factor)
    assert found.unit == (unit if unit in ("steps", "samples", "queries") else "seconds")


@pytest.mark.parametrize(("text", "unit", "amount"), [
    ("10m", "seconds", 600), ("90s", "seconds", 90), ("2h", "seconds", 7200), ("2000steps", "steps", 2000),
    ("1e5queries", "queries", 1e5), ("5e4 samples", "samples", 5e4), ("0.5h", "seconds", 1800),
])  # fmt: skip
def test_budgets_of_the_help_text(text, unit, amount):
    assert parse_budget(text) == Budget(unit=unit, amount=amount)


@quick
@given(st.text(max_size=20))
def test_any_budget_is_positive_and_finite_or_a_config_error(text):
    try:
        found = parse_budget(text)
    except ConfigError:
        return
    assert 0 < found.amount < 1e15
    assert math.isfinite(found.amount)


def test_our_yaml_reader_did_not_change_the_librarys():
    assert yaml.safe_load("a: &x 1\nb: *x") == {"a": 1, "b": 1}
    assert yaml.safe_load("a: 1\na: 2") == {"a": 2}


def test_a_task_file_is_found_by_its_suffix_only(tmp_path: Path):
    (tmp_path / "task").write_text("shape: [1, 8, 8]")
    with pytest.raises(TaskError, match="neither a known task nor a YAML file"):
        load_task(tmp_path / "task")


def test_pool_is_the_methods_where_it_is_a_setting_and_the_runs_where_it_is_a_flag():
    """Seven methods keep a pool; three choose from one that is given."""
    both = resolve_settings(None, {"pool": "images"}, ["pool=100"])
    assert (both.pool, both.options) == ("images", {"pool": 100})
    with pytest.raises(ConfigError, match="--pool images"):
        resolve_settings(None, {}, ["pool=images"])


def test_no_other_setting_of_a_method_is_hidden_by_one_of_the_run():
    for name in METHODS:
        hidden = set(find_method(name).Config.model_fields) & set(RunSettings.model_fields)
        assert hidden <= {"pool"}, name


# -- bits of the student


@pytest.mark.parametrize(
    ("text", "weights", "activations"), [("w4", 4, None), ("a8", None, 8), ("w4a8", 4, 8), (" W1A3 ", 1, 3)]
)
def test_bits_are_read_from_text(text: str, weights: int | None, activations: int | None) -> None:
    bits = RunSettings.model_validate({"bits": text}).bits
    assert (bits.weights, bits.activations, bits.active) == (weights, activations, True)


@pytest.mark.parametrize(
    "wrong", ["w3", "a0", "a9", "w4a16", "4", "", "a4w4", "int8", 4, {"weights": 3}, {"wieghts": 4}]
)
def test_other_bits_are_refused_in_a_sentence(wrong: object) -> None:
    with pytest.raises(ConfigError) as fault:
        RunSettings(bits=wrong)  # type: ignore[arg-type]
    assert "bits" in str(fault.value)
    if isinstance(wrong, str):
        assert "such as w4a8" in str(fault.value)


def test_settings_that_came_later_are_not_in_the_dump_of_older_ones() -> None:
    tree = RunSettings().model_dump(mode="json")
    assert "bits" not in tree
    assert set(tree["features"]) == {"hint", "attention", "teacher", "student"}
    full = RunSettings.model_validate({"bits": "w2", "features": {"probes": 5}})
    assert RunSettings.model_validate(full.model_dump(mode="json")) == full
    assert full.model_dump(mode="json")["features"]["probes"] == 5


def test_a_key_beside_the_flag_refines_it() -> None:
    bits = resolve_settings(None, {"bits": "w2a4"}, ["bits.scale=released"]).bits
    assert (bits.weights, bits.activations, bits.scale) == (2, 4, "released")
    assert resolve_settings(None, {}, ["bits=w2"]).bits.weights == 2


@pytest.mark.parametrize("spec", ["lora:8", "latents:latent-mlp", "layers:2", "shrink:0.5", "timm:resnet18"])
def test_a_spec_that_only_has_a_colon_names_no_code(spec: str) -> None:
    """Else the settings file of such a run could not be taken up again."""
    assert code_of(spec) is None
    assert code_of("my.module:network@weights.pt") == "my.module:network"


TEXTS = ("teacher", "teacher_key", "student", "method", "pool", "images_of", "preset", "budget", "device")


@pytest.mark.parametrize("name", TEXTS)
def test_an_empty_text_names_nothing_and_leaves_nothing_out(name: str) -> None:
    """`--budget "$BUDGET"` of a variable that is not set ran for the method's own size, a whole night."""
    with pytest.raises(ConfigError, match=name):
        resolve_settings(None, {name: ""})
    with pytest.raises(ConfigError, match="helpers"):
        resolve_settings(None, {"helpers": [""]})


@pytest.mark.parametrize("name", ["data", "network", "method", "preset", "device"])
def test_an_empty_text_names_nothing_in_a_federated_run_either(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        FederateSettings(**{"data": "digits", name: ""})


def test_what_a_file_cannot_hold_is_named_by_its_place() -> None:
    odd = {"a": MappingProxyType({"b": (np.float32(0.5), np.bool_(True), np.arange(2), Path("x"), None)})}
    assert plain(odd) == {"a": {"b": [0.5, True, [0, 1], "x", None]}}
    assert type(plain(np.float64(1))) is float
    for value in (object(), b"x", {1}):
        with pytest.raises(ValueError, match=r"a\.b\.0 is of the type"):
            plain({"a": {"b": [value]}})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested deeper"):
        plain({"a": endless})
    with pytest.raises(ConfigError, match="as a mapping, got 5"):
        validate(RunSettings, 5, "settings")  # type: ignore[arg-type]
