"""Hostile and mistaken settings: each is a user error with the field and the reason, and nothing is run.

Row 14 of the reliability table. `make test` takes about one in eight, `make test-long` all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sansdata.config import MAX_YAML_BYTES
from sansdata.errors import ConfigError, MethodError, TaskError, UserError
from sansdata.methods.index import method_config
from sansdata.settings import parse_budget, resolve_settings
from sansdata.tasks import load_task

HEX = "0x" + "f" * 6000
GOOD_TASK = "shape: [1, 8, 8]\nclasses: 10\nmean: [0.3]\nstd: [0.4]\n"


class Bad(NamedTuple):
    name: str
    kind: str
    """file, task, taskname, override, budget or method: where the text goes."""
    text: str | bytes
    said: str
    """What the message must contain: the field, or the reason where there is none."""


def of(kind: str, *rows: tuple[str, str | bytes, str]) -> list[Bad]:
    return [Bad(f"{kind}: {name}", kind, text, said) for name, text, said in rows]


def bomb() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    return "\n".join(lines + [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi")])


TAGS = ["!!python/object/apply:os.system [{}]", "!!python/object/apply:subprocess.check_output [[touch, {}]]",
        "!!python/object/new:os.system [{}]", "!!python/object/apply:builtins.eval ['open(\"{}\", \"w\")']",
        "!!python/name:os.system", "!!python/module:os", "!!python/object:builtins.object {{}}", "!!python/tuple [1]",
        "!!python/bytes aGk=", "!!python/complex 1j", "!ours x", "!!js/function 'x'", "!!binary aGVsbG8=",
        "!!set {{a, b}}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!timestamp 2001-01-01",
        "!<tag:yaml.org,2002:float> x", "!!timestamp 1", "!!bool maybe", "!!int x", "!!float []", "!!null {{}}",
        "!!str 1", "! 1"]  # fmt: skip


def field_rows() -> list[Bad]:
    """Every field with what it cannot be."""
    rows = []
    wrong: dict[str, list[str]] = {
        "seed": ["-1", "x", "[1]", "{a: 1}", ".nan", ".inf", "1.5", "null", HEX, "9223372036854775808", "1.0e+30"],
        "threads": ["-1", "1025", "x", "[]", ".nan", "0.5", "null", "-" + HEX],
        "strict": ["2", "x", "[true]", "null", ".nan"],
        "precision": ["fp16", "FP32", "3", "null", "[fp32]"],
        "method": ["3", "[fm]", "null", "{fm: 1}", "2001-01-01", "true"],
        "preset": ["1", "null", "[a]"], "device": ["0", "null", "[cpu]"], "student": ["1", "null", "[a]", "{lr: 1}"],
        "teacher": ["1", "null", "[a]"], "budget": ["10", "[10m]", "{m: 10}", HEX],
        "task": ["3", "[a]", "null", ".nan"],
        "options": ["3", "x", "[a]", "null", "{1: 2}"],
        "features": ["3", "[a]", "null", "{hint: -1}", "{hint: .nan}", "{hint: x}", "{attention: .inf}", "{hnit: 1}",
                     "{teacher: [a]}", "{teacher: 3}", "{1: 2}"],
        "engine": ["3", "null", "{snapshots: 0}", "{snapshots: 101}", "{checkpoint_seconds: 0}",
                   "{checkpoint_seconds: .inf}", "{log_every: 0}", "{sample_grids: -1}", "{tensorboard: 7}",
                   "{snapshot: 1}", "{checkpoint_seconds: " + "9" * 400 + "}", "{? [a] : 1}"],
    }  # fmt: skip
    for field, values in wrong.items():
        for i, value in enumerate(values):
            said = "line 1" if value == "{? [a] : 1}" else "pairs" if value == "{teacher: [a]}" else field
            rows += of("file", (f"{field} {i}", f"{field}: {value}\n", said))
    return rows


def task_rows() -> list[Bad]:
    rows = []
    wrong = {
        "shape": ["[8, 8]", "[2, 8, 8]", "[1, 3, 8]", "[1, 8, -8]", "[1, 100000, 100000]", "[1, 8, 8, 8]", "8", "x",
                  "[1, 8, .nan]", "[1, 8, " + HEX + "]", "null", "[[1], 8, 8]"],
        "classes": ["1", "0", "-5", "100001", "x", ".inf", "2.5", "[10]", "null", HEX],
        "mean": ["0.5", "[0.5, 0.5]", "[]", "[.nan]", "[.inf]", "[x]", "[1.0e+300]", "null", "[" + HEX + "]"],
        "std": ["[0]", "[-1]", "[.nan]", "[1, 1, 1]", "[1.0e-300]", "[]", "x", "{a: 1}"],
        "class_names": ["[a]", "[1, 2]", "abc", "3", "{a: b}"],
        "kind": ["text", "3", "[image]", "null", HEX],
    }  # fmt: skip
    for field, values in wrong.items():
        for i, value in enumerate(values):
            kept = [line for line in GOOD_TASK.splitlines() if not line.startswith(field)]
            rows += of("task", (f"{field} {i}", "\n".join([*kept, f"{field}: {value}"]), field))
    for field in ("shape", "classes", "mean", "std"):
        kept = [line for line in GOOD_TASK.splitlines() if not line.startswith(field)]
        rows += of("task", (f"{field} missing", "\n".join(kept), f"'{field}' is missing"))
    rows += of("task", ("unknown key", GOOD_TASK + "clases: 3", "Did you mean 'classes'"),
               ("repeated key", GOOD_TASK + "classes: 3", "twice"), ("no mapping", "- 1", "name: value"))  # fmt: skip
    return rows


def documents() -> list[Bad]:
    return of(
        "file",
        ("alias bomb", bomb(), "aliases"),
        ("alias to itself", "a: &a [*a]", "aliases"),
        ("merge of an alias", "x: &x {seed: 1}\n<<: *x", "aliases"),
        ("repeated key", "seed: 1\nseed: 2", "'seed' is given twice (line 2)"),
        ("repeated key below", "engine:\n  snapshots: 1\n  snapshots: 2", "'snapshots' is given twice"),
        ("repeated option", "options: {k: 2, k: 5}", "'k' is given twice"),
        ("deep lists", "seed: " + "[" * 3000 + "]" * 3000, "bad.yaml"),
        ("deep mappings", "options: " + "{a: " * 25 + "1" + "}" * 25, "nested deeper than 20"),
        ("deep pairs", "options: {a: " + "!!pairs [a: " * 60 + "1" + "]" * 60 + "}", "bad.yaml"),
        ("a list", "- a\n- b", "name: value"),
        ("a word", "hello", "name: value"),
        ("a number", "3", "name: value"),
        ("nothing", "", "name: value"),
        ("only a comment", "# seed: 1", "name: value"),
        ("two documents", "seed: 1\n---\nseed: 2", "single document"),
        ("a number as name", "3: 4", "text"),
        ("nothing as name", "null: 4", "text"),
        ("a list as name", "? [a, b]\n: 1", "stands as a name (line 1)"),
        ("too large", "a: " + "x" * MAX_YAML_BYTES, "larger than 1,000,000"),
        ("many keys", "\n".join(f"k{i}: 1" for i in range(2000)), "k1999"),
        ("endless digits", "seed: " + "9" * 5000, "line 1"),
        ("endless bits", "seed: 0b" + "1" * 20000, "'seed'"),
        ("endless minutes", "seed: " + ":".join(["59"] * 4000), "'seed'"),
        ("a 13th month", "seed: 2001-13-45", "month"),
        ("tab", "engine:\n\tsnapshots: 1", "bad.yaml"),
        ("open bracket", "seed: [1", "bad.yaml"),
        ("open quote", 'method: "fm', "bad.yaml"),
        ("NUL", "method: 'a\0b'", "bad.yaml"),
        ("half a character", 'method: "\\uD800"', "'method' holds half a character"),
        ("half a character as name", '"\\uDC00": 1', "half a character"),
        ("not UTF-8", b"method: \xff\xfe", "bad.yaml"),
        ("UTF-16", "seed: 1".encode("utf-16"), "bad.yaml"),
        ("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "bad.yaml"),
        ("unknown", "lr: 3", "unknown setting 'lr'"),
        ("unknown, near", "seeed: 3", "Did you mean 'seed'"),
        ("unknown, other letters", "сид: 3", "'сид'"),
        ("unknown, right to left", "\u202eseed: 3", "unknown setting"),
        ("unknown, a path", "../../etc/passwd: 1", "unknown setting"),
        ("unknown, dunder", "__class__: 1", "unknown setting '__class__'"),
        ("unknown, model_config", "model_config: {extra: allow}", "unknown setting 'model_config'"),
        ("bad directive", "%YAML 9.9\n---\nseed: 1", "bad.yaml"),
    )


def others() -> list[Bad]:
    rows = of(
        "override",
        ("empty", "", "key=value"), ("no equals", "seed", "key=value"), ("no key", "=3", "key=value"),
        ("no first part", ".seed=3", "key=value"), ("no last part", "engine.=3", "key=value"),
        ("empty part", "engine..log_every=3", "key=value"), ("blank", " =3", "key=value"),
        ("a tag", "seed=!!python/object/apply:os.system [{}]", "seed"),
        ("a false date", "seed=!!timestamp 1", "tags"),
        ("a NUL", 'student="resnet8@a\\0.pt"', "NUL"),
        ("an alias", "seed=*a", "seed"),
        ("open", "seed=[1", "seed"), ("wrong type", "seed=abc", "'seed'"), ("negative", "seed=-1", "'seed'"),
        ("endless", f"seed={HEX}", "seed"), ("not finite", "features.hint=.inf", "'features.hint'"),
        ("nan", "engine.checkpoint_seconds=nan", "'engine.checkpoint_seconds'"),
        ("into a value", "seed.x=1", "'seed'"),
        ("into a section's value", "engine.log_every.x=1", "'engine.log_every'"),
        ("a section", "engine=3", "'engine'"), ("unknown below", "engine.logevery=3", "Did you mean 'log_every'"),
        ("a long way", "student" + ".a" * 3000 + "=1", "nested deeper"), ("a long key", "x" * 9000, "key=value"),
        ("options, no mapping", "options=3", "'options'"),
    )  # fmt: skip
    rows += of("budget", *((repr(text), text, "budget") for text in (
        "", " ", "10", "m", "-5m", "+5m", "nan s", "inf s", "1e400s", "0s", "0.0steps", "5 parsecs", "10mm", "1e-5s",
        "1,000steps", "0x10s", "1_000steps", "10m10s", "1e15steps", "0.5steps", "0.9queries", "m10", "10 m m", "1e5",
        "9" * 400 + "s", "10m; rm -rf /", "½h", "∞s", "10\0m", "1..5s", "1e5e5s",
    )))  # fmt: skip
    rows += of("taskname", *((repr(text)[:40] + str(len(text)), text, text[:20]) for text in (
        "cifar-10", "CIFAR10", "nope", "../../etc/passwd", "/etc/passwd", "http://example.org/task.txt", "данные",
        "~/task.yaml", "missing.yaml", "a/b/c.yml", "x" * 5000, "x" * 5000 + ".yaml", "digits ", "digits\n",
        "task.json",
    )))  # fmt: skip
    rows += of("taskname", ("nothing", "", "task"), ("NUL", "a\0.yaml", "null byte"), ("half", "\ud800.yaml", "cannot"),
               ("a folder", "/.yaml", "neither"))  # fmt: skip
    rows += of("method", *((text, text, said) for text, said in (
        ("nope", "unknown method 'nope'"), ("", "unknown method"), ("FM", "unknown method"),
        ("fm preset=nope", "no preset 'nope'"), ("fm k=0", "'k'"), ("fm k=3", "no published rates"), ("fm k=x", "'k'"),
        ("fm k=.nan", "'k'"), ("fm bn=-1", "'bn'"), ("fm bn_momentum=1", "'bn_momentum'"), ("fm view=zoom", "'view'"),
        ("fm width=-3", "width"), ("fm pool=0", "'pool'"), ("fm batch=1", "'batch'"), ("fm steps=0", "'steps'"),
        ("fm transfer=3", "'transfer'"), ("fm transfer.lr=0", "'transfer.lr'"),
        ("fm transfer.lr=.inf", "'transfer.lr'"),
        ("fm transfer.batch=1e9", "'transfer.batch'"), ("fm transfer.match=cosine", "'transfer.match'"),
        ("fm transfer.tempreature=1", "Did you mean 'temperature'"), ("fm lambda=1", "unknown setting 'lambda'"),
        ("dafl latent=0", "'latent'"), ("dafl entropy=-1", "'entropy'"), ("noise source=sepia", "'source'"),
        ("deepinversion chunk=0", "'chunk'"), ("deepinversion jitter=-1", "'jitter'"),
    )))  # fmt: skip
    return rows


BAD = [
    *of("file", *((f"tag {i}", "seed: " + tag, "bad.yaml") for i, tag in enumerate(TAGS))),
    *documents(), *field_rows(), *task_rows(), *others(),
]  # fmt: skip
ERRORS = {"task": TaskError, "taskname": TaskError, "method": (MethodError, ConfigError)}


def apply(kind: str, text: str | bytes, folder: Path) -> object:
    """Gives the text to whatever reads this kind of it."""
    file = folder / "bad.yaml"
    if kind in ("file", "task"):
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        return resolve_settings(file, {}) if kind == "file" else load_task(str(file))
    assert isinstance(text, str)
    if kind == "method":
        name, *pairs = text.split(" ")
        preset = next((pair.partition("=")[2] for pair in pairs if pair.startswith("preset=")), "default")
        overrides = [pair for pair in pairs if not pair.startswith("preset=")]
        return method_config(name, preset, resolve_settings(None, {}, overrides).options)
    readers: dict[str, Callable[[str], object]] = {
        "taskname": load_task, "budget": parse_budget, "override": lambda text: resolve_settings(None, {}, [text]),
    }  # fmt: skip
    return readers[kind](text)


def check(bad: Bad, folder: Path) -> None:
    canary = folder / "canary"
    text = bad.text.replace("{}", str(canary)).replace("{{", "{") if isinstance(bad.text, str) and "!!" in bad.text \
        else bad.text  # fmt: skip
    with pytest.raises(UserError) as caught:
        apply(bad.kind, text, folder)
    assert isinstance(caught.value, ERRORS.get(bad.kind, ConfigError))
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert bad.said in message
    assert len(message) < 12_000 or "k1999" in message or "x" * 900 in message
    assert not canary.exists()


def test_there_are_enough():
    assert len(BAD) >= 150
    assert len({bad.name for bad in BAD}) == len(BAD)


@pytest.mark.parametrize("bad", BAD[::8], ids=[bad.name[:50].encode("ascii", "replace").decode() for bad in BAD[::8]])
def test_bad_settings(bad, tmp_path):
    check(bad, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("bad", BAD, ids=[f"{i}" for i in range(len(BAD))])
def test_bad_settings_long(bad, tmp_path):
    check(bad, tmp_path)


@pytest.mark.parametrize("tag", TAGS[:4])
def test_no_tag_runs_code(tag, tmp_path):
    canary = tmp_path / "canary"
    tag = tag.replace("{}", str(canary)).replace("{{", "{").replace("[" + str(canary), f"[touch {canary}")
    for kind, text in (("file", f"seed: {tag}"), ("task", GOOD_TASK + f"class_names: {tag}"), ("override", f"a={tag}")):
        with pytest.raises(UserError):
            apply(kind, text, tmp_path)
    assert not canary.exists()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_device_without_end_is_too_large():
    with pytest.raises(ConfigError, match="larger than"):
        resolve_settings("/dev/zero", {})


UNREADABLE = [
    (".", "directory"), ("nope.yaml", "No such file"), ("a\0b", "null byte"), ("x" * 5000, "too long"),
    ("no/such/dir.yaml", "No such file"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "reason"), UNREADABLE, ids=["folder", "missing", "NUL", "long", "path"])
def test_a_file_that_cannot_be_read_says_why(where, reason):
    with pytest.raises(ConfigError, match=f"(?i){reason}"):
        resolve_settings(where, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_says_why(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("seed: 1")
    file.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        resolve_settings(file, {})


# -- through the command: one process for all, and it must not have imported torch

RUNNER = """
import io, json, sys, contextlib
from sansdata.cli import main
results = []
for arguments in json.load(sys.stdin):
    sys.argv = ["sansdata", *arguments]
    out, err = io.StringIO(), io.StringIO()
    code, trace = None, ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.run()
        except SystemExit as end:
            code = end.code
        except BaseException as fault:
            trace = repr(fault)
    results.append([code, err.getvalue(), trace, "torch" in sys.modules])
json.dump(results, sys.stdout)
"""

DISTIL = ["distill", "--teacher", "lenet5@no.safetensors", "--task", "digits", "--out", "never"]
COMMANDS: list[tuple[list[str], str]] = [
    (["distill"], "--teacher"),
    (["distill", "--teacher", "lenet5@x"], "--task"),
    ([*DISTIL[:4], "cifar-10"], "cifar10"),
    ([*DISTIL, "--budget", "10"], "budget '10'"),
    ([*DISTIL, "--budget", "-5m"], "budget '-5m'"),
    ([*DISTIL, "--seed", "-1"], "'seed'"),
    ([*DISTIL, "--precision", "fp8"], "'precision'"),
    ([*DISTIL, "--config", "nope.yaml"], "nope.yaml"),
    ([*DISTIL, "--config", "bad.yaml"], "Did you mean 'seed'"),
    ([*DISTIL, "--config", "tag.yaml"], "tag.yaml"),
    ([*DISTIL, "engine.snapshot=1"], "Did you mean 'snapshots'"),
    ([*DISTIL, "seed"], "key=value"),
    ([*DISTIL, "features.hint=-1"], "'features.hint'"),
    (["distill", "--teacher", "lenet5@x", "--task", "bad-task.yaml"], "'classes'"),
    (["distill", "--teacher", "lenet5@x", "--task", "digits"], "--out"),
    (["check", "--teacher", "lenet5@x", "--task", "nope"], "nope"),
    ([*DISTIL, "--seed", "abc"], "--seed"),
    ([*DISTIL, "--nonsense"], "--nonsense"),
    (["distil"], "distil"),
]  # fmt: skip


def python(*arguments: str, folder: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    source = Path(__file__).parents[2] / "src"
    environment = os.environ | {"PYTHONPATH": str(source), "PYTHONUTF8": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, timeout=120
    )


def write_bad_files(folder: Path) -> None:
    (folder / "bad.yaml").write_text("seeed: 1")
    (folder / "tag.yaml").write_text(f"seed: !!python/object/apply:os.system ['touch {folder / 'canary'}']")
    (folder / "bad-task.yaml").write_text(GOOD_TASK.replace("classes: 10", "classes: 1"))


def test_the_command_answers_faults_of_settings_with_2_in_words_and_without_torch(tmp_path):
    write_bad_files(tmp_path)
    done = python("-c", RUNNER, folder=tmp_path, given=json.dumps([arguments for arguments, _ in COMMANDS]))
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) == len(COMMANDS)
    for (arguments, said), (code, err, trace, torch) in zip(COMMANDS, results):
        assert code == 2, (arguments, err, trace)
        assert said in err, arguments
        assert "Traceback" not in err + trace, arguments
        assert not torch, f"{arguments} imported torch to say so"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad-task.yaml", "bad.yaml", "tag.yaml"]  # nothing was begun


def test_the_command_itself(tmp_path):
    write_bad_files(tmp_path)
    done = python("-m", "sansdata", *DISTIL, "--config", "tag.yaml", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: tag.yaml: not valid YAML")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "canary").exists()
