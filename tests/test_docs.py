"""What README and docs print must work as printed, and name only what exists."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

import sansdata
from sansdata.api.card import CardSettings
from sansdata.cli.main import app
from sansdata.config import Strict
from sansdata.deploy.bundle_writer import BundleSettings
from sansdata.evaluate.few_shot import FewShotSettings
from sansdata.finetuning.settings import FineTuneSettings
from sansdata.method import Method
from sansdata.methods.index import METHODS, find_method
from sansdata.models.build import architecture_of, build
from sansdata.settings import (
    BitsSettings,
    EngineSettings,
    FeatureTerms,
    GradientSettings,
    RetainSettings,
    RetrospectSettings,
    RunSettings,
    VaccineSettings,
    VAESettings,
)
from sansdata.tasks import KNOWN_TASKS
from sansdata.training.fair_image_vae import FairImageVAESettings
from sansdata.training.transfer import TransferSettings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    if path.name not in ("architecture.md", "reproduction.md")
)
MARK = "<!-- test -->"
BLOCK = re.compile(r"(?P<mark><!-- test -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {
    "transfer": TransferSettings, "features": FeatureTerms, "retain": RetainSettings, "retain.vae": VAESettings,
    "engine": EngineSettings,
    "vaccine": VaccineSettings, "retrospect": RetrospectSettings, "bits": BitsSettings,
    "teacher_gradients": GradientSettings,
}  # fmt: skip
OF_VERBS = {
    "evaluate": FewShotSettings, "bundle": BundleSettings, "card": CardSettings, "finetune": FineTuneSettings,
    "autoencoder": FairImageVAESettings,
}  # fmt: skip
TIME_BUDGET = re.compile(r"(--budget |budget=\")\d+[smh]\b")
FOREIGN_FLAGS = {
    "--minutes",
    "--network",
    "--read-only",
    "--tmpfs",
    "--index-url",
    "--nproc-per-node",
    "--check",
    "--simulation",
    "--rate",
}  # fmt: skip - of pip, torchrun, ruff and examples


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str, marked_only: bool = False) -> list[str]:
    found = [m for m in BLOCK.finditer(text_of(page)) if m["language"] == language]
    return [m["text"] for m in found if m["mark"] or not marked_only]


def commands(page: Path, marked_only: bool = False) -> list[list[str]]:
    """The sansdata commands of a page's bash blocks, as argument lists without the program."""
    lines = "\n".join(blocks(page, "bash", marked_only)).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    plain = [words[words.index("sansdata") + 1 :] for words in split if "sansdata" in words]
    return [words for words in plain if words]


@cache
def flags() -> dict[str, set[str]]:
    """Verb -> its flags, as the command itself knows them."""
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {
        name: {
            opt
            for one in (verb, *getattr(verb, "commands", {}).values())
            for parameter in one.params
            for opt in parameter.opts
            if opt.startswith("--")
        }
        for name, verb in verbs.items()
    }


@pytest.fixture
def demo_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with demo-run/vendor.safetensors, as `make demo` leaves it, but with random weights."""
    torch.manual_seed(0)
    (tmp_path / "demo-run").mkdir()
    module = build(architecture_of("resnet8", KNOWN_TASKS["digits"]))
    save_file(module.state_dict(), tmp_path / "demo-run" / "vendor.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tiny(text: str) -> str:
    """The same with a budget of two steps, where it is one of time."""
    return TIME_BUDGET.sub(r"\g<1>2steps", text)


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "configuration.md"], ids=lambda p: p.name)
def test_marked_commands_run_as_printed(page: Path, demo_teacher: Path) -> None:
    pytest.importorskip("onnxscript")
    todo = commands(page, marked_only=True)
    assert todo
    for words in todo:
        if words[0] == "distill":  # its size, not its meaning
            words = [*words, "--threads", "1"]
        done = CliRunner().invoke(app, shlex.split(tiny(shlex.join(words))))
        assert done.exit_code == 0, f"sansdata {shlex.join(words)}\n{done.output}\n{done.exception!r}"


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *(DOCS / f"{name}.md" for name in ("getting-started", "reference", "tables", "texts"))],
    ids=lambda p: p.name,
)
def test_marked_python_runs_as_printed(page: Path, demo_teacher: Path) -> None:
    todo = blocks(page, "python", marked_only=True)
    assert todo
    names: dict[str, object] = {}
    for text in todo:
        exec(compile(tiny(text), page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_and_flag_exists(page: Path) -> None:
    for words in commands(page):
        verb = words[0]
        assert verb in flags(), f"sansdata {verb}"
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= flags()[verb], f"sansdata {shlex.join(words)}"
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(r"released, `--\w+`", "", text_of(page))))
    assert named <= set().union(*flags().values()) | FOREIGN_FLAGS
    for verb in re.findall(r"`sansdata ([a-z]+)", text_of(page)):
        assert verb in flags()


def test_every_flag_of_every_command_is_documented() -> None:
    text = text_of(DOCS / "configuration.md")
    for verb, known in flags().items():
        for flag in known - {"--help"}:
            assert re.search(rf"`{flag}\b", text), f"{flag} of {verb}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_settings_in_commands_exist(page: Path) -> None:
    for words in commands(page):
        keys = [word.partition("=")[0] for word in words[1:] if re.match(r"[a-z_.]+=", word)]
        method = words[words.index("--method") + 1] if "--method" in words else "noise"
        config = find_method(method).Config if method in METHODS else None
        config = OF_VERBS.get(words[0], config)
        for key in keys:
            section, _, rest = key.partition(".")
            home = SECTIONS.get(section)
            if home is not None:
                assert rest in home.model_fields, key
            elif key in RunSettings.model_fields:
                continue
            elif config is not None:
                assert section in config.model_fields, f"{key} of {method}"
                own = getattr(config(), section)
                assert not rest or rest in type(own).model_fields, f"{key} of {method}"


def test_every_common_setting_is_documented() -> None:
    text = text_of(DOCS / "configuration.md")
    for section, home in SECTIONS.items():
        for name in home.model_fields:
            assert f"`{section}.{name}`" in text
    for name, field in RunSettings.model_fields.items():
        if name != "options" and name not in SECTIONS:
            assert f"`--{name}" in text or f"`{name}=" in text, field


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_has_a_page_with_its_settings(name: str) -> None:
    text = text_of(DOCS / "methods" / f"{name}.md")
    cls = find_method(name)
    for key, value in cls.Config():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{key}` |")), None)
        assert row is not None, f"no row for '{key}'"
        if not isinstance(value, Strict):
            assert row.split("|")[2].strip() == f"`{value}`", f"the default of '{key}' is {value}: {row}"
    for preset, values in cls.presets.items():
        paragraph = next(part for part in text.split("\n\n") if part.startswith(f"Preset `{preset}`"))
        missing = [key for key in values if key != "transfer" and f"`{key}`" not in paragraph]
        assert not missing, f"preset '{preset}': {missing}"
    assert f"`{name}`](docs/methods/{name}.md)" in text_of(ROOT / "README.md")
    assert f"methods/{name}.md" in text_of(DOCS / "index.md")


def test_every_public_name_has_a_heading_in_the_reference() -> None:
    headings = re.findall(r"^### `sansdata\.(\w+)`$", text_of(DOCS / "reference.md"), re.MULTILINE)
    assert sorted(headings) == sorted(sansdata.__all__)


SIGNATURE = re.compile(r"^`(?P<name>\w+(?:\.\w+)?)\((?P<parameters>[^`]*)\)`$", re.MULTILINE)
"""A signature stands in a paragraph of its own."""


def documented_signatures() -> dict[str, str]:
    """Name below `sansdata`, such as 'distill' or 'Teacher.from_module' -> its parameters as the reference has them."""
    found = [(one["name"], one["parameters"]) for one in SIGNATURE.finditer(text_of(DOCS / "reference.md"))]
    assert len(dict(found)) == len(found), "a signature stands there twice"
    return dict(found)


def parameters_of(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """(name, kind, default) of each, a default that is made anew as what is made."""
    fields = getattr(function, "__dataclass_fields__", {}) | getattr(function, "model_fields", {})

    def default(one: inspect.Parameter) -> Any:
        made = getattr(fields.get(one.name), "default_factory", None)
        return made() if callable(made) else one.default

    known = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, default(one)) for one in known if one.name != "self"]


def written_parameters(text: str) -> list[tuple[str, Any, Any]]:
    """The same, of parameters as a page has them."""
    names = {"Access": sansdata.Access, "frozenset": frozenset}
    function = eval(
        compile(ast.parse(f"lambda {text}: None".replace("\n", " "), mode="eval"), "reference.md", "eval"), names
    )
    return parameters_of(function)


def test_signatures_in_the_reference_are_those_of_the_code() -> None:
    written = documented_signatures()
    for name, parameters in written.items():
        thing: Any = sansdata
        for part in name.split("."):
            thing = getattr(thing, part)
        assert written_parameters(parameters) == parameters_of(thing), name
    for name in sansdata.__all__:
        thing = getattr(sansdata, name)
        made_by_hand = not (
            isinstance(thing, type) and (issubclass(thing, Enum) or getattr(thing, "_is_protocol", False))
        )
        if made_by_hand and parameters_of(thing):
            assert name in written, f"sansdata.{name} stands there without its signature"


def test_every_error_is_in_the_reference() -> None:
    from sansdata import errors

    text = text_of(DOCS / "reference.md")
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.SansdataError):
            assert f"`{name}`" in text


def test_every_part_of_a_method_has_its_row() -> None:
    rows = " ".join(re.findall(r"^\| (`.+?`) \|", text_of(DOCS / "adding-a-method.md"), re.MULTILINE))
    for name in (name for name in dir(Method) if not name.startswith("_")):
        assert re.search(rf"`{name}[`(]", rows), name


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and mkdocs make it."""
    plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return plain.replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", BLOCK.sub("", text_of(page)), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_internal_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text_of(page))):
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.is_file(), link
        if DOCS in page.parents:
            assert DOCS in path.parents, f"{link} leads out of the built pages"
        if anchor:
            assert anchor in anchors(path), link


REPOSITORY_PATH = re.compile(r"`((?:src|docs|tests|examples|benchmarks)/[^`\s]*|[\w.-]+(?:/[\w.-]+)*/[\w.-]+\.py)`")
HOMES = (ROOT, ROOT / "src", ROOT / "src" / "sansdata")
"""What a path on a page may start from: the repository, or the package."""


@pytest.mark.parametrize("page", [*PAGES, DOCS / "architecture.md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_paths_of_the_repository_exist(page: Path) -> None:
    for path in REPOSITORY_PATH.findall(text_of(page)):
        pattern = path.replace("NAME", "*")  # a name of the reader's choice
        there = any(list(home.glob(pattern)) for home in (*HOMES, page.parent))
        assert there, f"{path} is not there"


def test_the_built_pages_are_complete() -> None:
    def pages(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [page for value in values for page in pages(value)]  # type: ignore[union-attr]

    nav = pages(yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"])
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} | {"reproduction.md"}
    assert set(nav) == there


def test_no_page_names_a_place_of_one_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(work|home|root|tmp)/", text_of(page)), page


def test_yaml_on_the_pages_is_accepted() -> None:
    (task,) = [text for text in blocks(DOCS / "getting-started.md", "yaml") if "shape" in text]
    assert sansdata.load_task(yaml.safe_load(task)).classes == 10
    run, sides = blocks(DOCS / "configuration.md", "yaml")
    RunSettings.model_validate(yaml.safe_load(run))
    assert sansdata.load_task(yaml.safe_load(sides)).pair == ("tokens", "classes")
    (word,) = blocks(DOCS / "bundles.md", "yaml")
    assert BundleSettings.model_validate(yaml.safe_load(word)).thresholds == {"effusion": 0.35}
    loans, scaling = (yaml.safe_load(text) for text in blocks(DOCS / "tables.md", "yaml"))
    table = sansdata.load_task({**loans, **scaling})
    assert len(table.own_preprocessing["mean"]) == len(table.inputs.numbers)


def test_the_tasks_of_texts_on_their_page_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "reviews").mkdir()
    for name in ("reviews/tokenizer.json", "words.json"):
        (tmp_path / name).write_text('{"model": {"vocab": {"a": 0, "b": 1}}}')
    for text in blocks(DOCS / "texts.md", "yaml"):
        (tmp_path / "reviews.yaml").write_text(text)
        assert sansdata.load_task(tmp_path / "reviews.yaml").inputs.vocabulary == 2
