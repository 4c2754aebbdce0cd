"""Sealed runs: stopped at the first read or connection that was not declared, and on a record that says so for ever."""

from __future__ import annotations

import json
import shutil
import socket
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from bundles import make_key
from tiny import Tiny
from typer.testing import CliRunner

import sansdata
from sansdata.api.distill import distill_settings
from sansdata.api.verify import verify_run
from sansdata.cli.main import app
from sansdata.contracts import Batch
from sansdata.engine.run import run
from sansdata.engine.seal import chain, phases
from sansdata.engine.seal.check import check
from sansdata.engine.seal.phases import Phase, record_phase
from sansdata.engine.seal.sealing import BOUND, sign_end, signing_key
from sansdata.errors import ConfigError, DataError, NoDataViolation, ResumeError, SealError
from sansdata.files import sha256
from sansdata.methods import index
from sansdata.methods.noise import Noise
from sansdata.settings import RunSettings
from sansdata.signing import private_key

OPTIONS = {"transfer": {"batch": 8}}


def sealed(tiny: Tiny, method: str = "noise", **fields: object) -> RunSettings:
    return tiny.settings(method, OPTIONS, budget="2steps", strict=False, sealed=True, **fields)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_key(tmp_path_factory.mktemp("keys"), "hospital")


@pytest.fixture(scope="module")
def finished(tiny: Tiny, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sealed") / "run"
    distill_settings(sealed(tiny), out, sign=keys[0])
    return out


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


class Opens(Noise):
    path = ""

    def transfer_batch(self) -> Batch:
        open(self.path, "rb").close()
        return super().transfer_batch()


class Connects(Noise):
    how = "connect"

    def transfer_batch(self) -> Batch:
        if self.how == "name":
            socket.getaddrinfo("example.org", 443)
        with socket.socket(socket.AF_UNIX if self.how == "unix" else socket.AF_INET) as one:
            one.connect(("127.0.0.1", 9))
        return super().transfer_batch()


def third_party(patch: pytest.MonkeyPatch, cls: type) -> None:
    entry = EntryPoint("sneaky", f"{cls.__module__}:{cls.__name__}", index.GROUP)
    patch.setattr(EntryPoint, "load", lambda self: cls)
    patch.setattr(index, "entry_points", lambda group: (entry,))


def test_it_binds_its_ledger_and_its_student(finished: Path, keys: tuple[Path, Path]) -> None:
    record = verify_run(finished, keys[1])
    end = next(one for one in record.records if one.event == "sealed")
    for name in ("ledger.json", "student.safetensors", "run.json", "config.yaml", "metrics.jsonl", "summary.json"):
        assert end.files[name] == sha256(finished / name)
    begun = record.records[0]
    assert (
        begun.facts["isolation"]["level"]
        == json.loads((finished / "run.json").read_text())["sealed"]["isolation"]["level"]
    )
    assert begun.facts["teacher"]["fingerprint"]
    assert "real data chooses nothing" in begun.facts["selection"]
    assert json.loads((finished / "ledger.json").read_text())["mode"] == "strict"


def test_the_same_seed_gives_the_same_student(finished: Path, tiny: Tiny, tmp_path: Path) -> None:
    run(sealed(tiny), tmp_path / "again")
    assert sha256(tmp_path / "again" / "student.safetensors") == sha256(finished / "student.safetensors")
    other = run(sealed(tiny, seed=1), tmp_path / "other")
    assert sha256(other / "student.safetensors") != sha256(finished / "student.safetensors")


def test_opening_data_stops_it_and_is_on_the_record(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party(monkeypatch, Opens)
    monkeypatch.setattr(Opens, "path", str(tiny.data))
    with pytest.raises(NoDataViolation, match=r"data\.npz"):
        run(sealed(tiny, "sneaky"), tmp_path / "run")
    with pytest.raises(SealError, match=r"a phase was broken: open of .*data\.npz"):
        verify_run(tmp_path / "run")


@pytest.mark.parametrize("how", ["connect", "unix", "name"])
def test_a_socket_stops_it_even_on_this_machine(
    how: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party(monkeypatch, Connects)
    monkeypatch.setattr(Connects, "how", how)
    with pytest.raises(NoDataViolation, match=r"socket|network"):
        run(sealed(tiny, "sneaky"), tmp_path / "run")
    events = [record.event for record in chain.read(tmp_path / "run")]
    assert events == ["begun", "broken", "stopped"]
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["violations"][0]["event"].startswith("socket.")


def test_what_was_broken_stays_broken(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the run is continued without a fault."""
    third_party(monkeypatch, Opens)
    monkeypatch.setattr(Opens, "path", str(tiny.data))
    with pytest.raises(NoDataViolation):
        run(sealed(tiny, "sneaky"), tmp_path / "run")
    monkeypatch.setattr(Opens, "path", __file__)
    monkeypatch.setattr(Opens, "transfer_batch", Noise.transfer_batch)
    run(sealed(tiny, "sneaky"), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "student.safetensors").is_file()
    with pytest.raises(SealError, match="a phase was broken"):
        verify_run(tmp_path / "run")


def test_a_read_before_there_is_a_directory_is_on_the_record_too(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sansdata.engine import run as module

    monkeypatch.setattr(module, "prepare", lambda *_: open(tiny.data).close())
    with pytest.raises(NoDataViolation):
        run(sealed(tiny), tmp_path / "run")
    assert [record.event for record in chain.read(tmp_path / "run")] == ["broken", "stopped"]


def test_evaluation_is_a_phase_of_its_own_and_breaks_nothing(own: Path, tiny: Tiny, keys: tuple[Path, Path]) -> None:
    sansdata.evaluate(own, tiny.data)
    sansdata.report(own, tiny.data)
    record = verify_run(own, keys[1])
    local = [one for one in record.records if one.phase == "LOCAL"]
    assert local[0].facts["data"] == str(tiny.data.resolve())
    assert local[-1].files == {"evaluation.json": sha256(own / "evaluation.json")}


def test_evaluation_that_is_in_no_record_is_a_fault(own: Path, tiny: Tiny) -> None:
    sansdata.evaluate(own, tiny.data)
    path = own / chain.CHAIN
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b"LOCAL" not in line))
    with pytest.raises(SealError, match=r"evaluation\.json is in no record"):
        verify_run(own)


def test_local_data_before_the_end_breaks_the_run_for_ever(own: Path, tiny: Tiny) -> None:
    path = own / chain.CHAIN
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    sansdata.evaluate(own, tiny.data)
    with pytest.raises(SealError, match="before the phase SEALED had ended"):
        verify_run(own)
    assert record_phase(own, "REPORT", "reported") == ""
    with pytest.raises(SealError, match="before the phase SEALED had ended"):
        verify_run(own)


def test_a_run_that_read_what_is_local_data_says_so(own: Path, tiny: Tiny) -> None:
    """A pool is declared and may be read, and turns out to be the house's data. The teacher beside it is none."""
    ledger = json.loads((own / "ledger.json").read_text())
    assert record_phase(own, "LOCAL", "validated", data=tiny.folder) == ""
    assert verify_run(own).counts["LOCAL"] == 1
    ledger["files"].append({"path": tiny.pool, "role": "pool", "sha256": None, "bytes": None})
    (own / "ledger.json").write_text(json.dumps(ledger))
    assert record_phase(own, "LOCAL", "validated", data=tiny.folder) == ""
    with pytest.raises(SealError, match=r"the phase SEALED read .*pool, which lies in what is LOCAL data"):
        verify_run(own)


def test_every_set_that_a_verb_meets_is_held_against_the_ledger(own: Path, tiny: Tiny, tmp_path: Path) -> None:
    """A teacher's training data, which the run had as its pool, beside a held-out set that it never saw."""
    held_out = Path(shutil.copy(tiny.data, tmp_path / "held-out.npz"))
    ledger = json.loads((own / "ledger.json").read_text())
    ledger["files"].append({"path": str(tiny.data), "role": "pool", "sha256": None, "bytes": None})
    (own / "ledger.json").write_text(json.dumps(ledger))
    sansdata.audit(own, data=held_out, training=tiny.data)
    assert phases.broken(chain.read(own)) == [
        f"the phase SEALED read {tiny.data}, which lies in what is LOCAL data now"
    ]
    assert chain.read(own)[-1].facts["data"] == [str(held_out), str(tiny.data)]


def test_other_runs_have_no_chain(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny.settings("noise", OPTIONS, budget="2steps"), tmp_path / "run")
    assert record_phase(tmp_path / "run", "LOCAL", "evaluated") == ""
    assert not (tmp_path / "run" / chain.CHAIN).exists()
    with pytest.raises(SealError, match="no sealed run"):
        verify_run(tmp_path / "run")


def test_a_chain_that_was_taken_away_is_missed(own: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    (own / chain.CHAIN).unlink()
    sansdata.evaluate(own, tiny.data)
    with pytest.raises(SealError):
        verify_run(own)


def test_a_look_at_data_that_fails_is_in_the_record(own: Path, tiny: Tiny, tmp_path: Path) -> None:
    """A declaration stands before the data are opened, and so does its record; a name that is mistyped is no look."""
    manifest = tmp_path / "cases.csv"
    manifest.write_text("row,label\nx,1\n")
    with pytest.raises(DataError, match="rows are whole numbers"):
        sansdata.validate(own, tiny.teacher, tiny.data, manifest)
    with pytest.raises(DataError, match="rows are whole numbers"):
        sansdata.finetune(own, tiny.data, manifest, tmp_path / "tuned")
    for verb in (lambda: sansdata.validate(own, tiny.teacher, tiny.data, tmp_path / "mistyped.csv"),
                 lambda: sansdata.finetune(own, tiny.data, tmp_path / "mistyped.csv", tmp_path / "tuned")):  # fmt: skip
        with pytest.raises(DataError, match="no such manifest"):
            verb()
    assert check(own).faults == ()
    looks = [(one.event, one.facts["data"]) for one in check(own).records if one.phase == "LOCAL"]
    assert looks == [("declared", str(tiny.data)), ("fine-tuning begun", str(tiny.data))]


@pytest.mark.parametrize("name", ["student.safetensors", "ledger.json", "run.json", "summary.json"])
def test_another_file_in_its_place_is_seen(name: str, own: Path) -> None:
    (own / name).write_bytes((own / name).read_bytes() + b" ")
    with pytest.raises(SealError, match=f"{name} was changed"):
        verify_run(own)


def test_samples_may_be_deleted_and_not_replaced(own: Path, keys: tuple[Path, Path]) -> None:
    samples = own / "images.npz"
    samples.write_bytes(samples.read_bytes() + b" ")
    for key in (None, keys[1]):
        with pytest.raises(SealError, match=r"images\.npz was changed after it was recorded"):
            verify_run(own, key)
    samples.unlink()
    assert verify_run(own, keys[1]).signed
    (own / "kept.npz").write_bytes(b"added")
    with pytest.raises(SealError, match=r"kept\.npz was not there at the end"):
        verify_run(own, keys[1])


def test_a_record_that_was_written_anew_has_no_signature(
    own: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can write in the directory can write another chain; not by the house's key. (Within the same second it would
    be the same chain.)"""
    monkeypatch.setattr(chain, "utc_now", lambda: "2100-01-01T00:00:00Z")
    old = chain.read(own)
    (own / chain.CHAIN).unlink()
    for record in old:
        chain.append(own, record.phase, record.event, record.facts, record.files)
    assert check(own).faults == ()
    with pytest.raises(SealError, match="signature is of no record of an end"):
        verify_run(own, keys[1])
    (own / chain.CHAIN).unlink()
    for record in old[:-1]:
        chain.append(own, record.phase, record.event, record.facts, record.files)
    with pytest.raises(SealError, match="not signed, and a key was given"):
        verify_run(own, keys[1])


@pytest.mark.parametrize("name", ["student.safetensors", "ledger.json", "run.json"])
@pytest.mark.parametrize("phase", ["SEALED", "LOCAL", "REPORT"])
def test_a_later_record_does_not_move_what_was_signed(
    name: str, phase: Phase, own: Path, keys: tuple[Path, Path]
) -> None:
    """Anybody who can write in the directory can add a record, and needs no key for it."""
    (own / name).write_bytes((own / name).read_bytes() + b" ")
    chain.append(own, phase, "carded", {}, [name])
    with pytest.raises(SealError, match=f"{name} was changed after it was recorded"):
        verify_run(own, keys[1])


def test_a_student_that_is_added_beside_what_was_signed_is_seen(own: Path, keys: tuple[Path, Path]) -> None:
    (own / "tokenizer.json").write_text("{}")
    chain.append(own, "REPORT", "carded", {}, ["tokenizer.json"])
    with pytest.raises(SealError, match=r"tokenizer\.json was not there at the end that is signed"):
        verify_run(own, keys[1])


@pytest.mark.parametrize("again", [False, True])
def test_a_run_that_goes_on_after_the_signature_needs_another(again: bool, own: Path, keys: tuple[Path, Path]) -> None:
    """again: the old signature is put below the new end, as somebody without the key can."""
    old = next(one for one in chain.read(own) if one.event == phases.SIGNED)
    chain.append(own, "SEALED", phases.RESUMED, {})
    end = chain.append(own, "SEALED", phases.ENDED, {"status": "done"}, BOUND)
    if again:
        chain.append(own, "SEALED", phases.SIGNED, old.facts)
    with pytest.raises(SealError, match="the run went on after the end that is signed"):
        verify_run(own, keys[1])
    sign_end(own, private_key(keys[0]), end)
    assert verify_run(own, keys[1]).signed


@pytest.mark.parametrize("name", ["audit.json", "exports.json", "validation.json"])
def test_what_a_later_verb_made_is_in_a_record(name: str, own: Path) -> None:
    (own / name).write_text("{}")
    assert any(fault.startswith(f"{name} is in no record") for fault in check(own).faults)
    record_phase(own, "LOCAL", "audited", files=[name])
    assert check(own).faults == ()


def test_another_key_is_refused(own: Path, tmp_path: Path) -> None:
    with pytest.raises(SealError, match="not by the key"):
        verify_run(own, make_key(tmp_path, "other")[1])


def test_an_unsealed_run_cannot_be_continued_as_a_sealed_one(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny.settings("noise", OPTIONS, budget="2steps")
    run(settings, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    with pytest.raises(ResumeError, match="sealed was None, is True"):
        run(sealed(tiny), tmp_path / "run", resume=True)
    with pytest.raises(SealError, match="stands in no record"):
        run(sealed(tiny), tmp_path / "run", resume=True, force=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"sign": "key", "sealed": False}, "add --sealed"), ({"sign": "public"}, "no private key"),
     ({"sign": "elliptic"}, "Ed25519")],
)  # fmt: skip
def test_a_key_that_cannot_sign_is_refused_before_anything(
    change: dict, said: str, tiny: Tiny, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    files = {"key": keys[0], "public": keys[1], "elliptic": make_key(tmp_path, "e", "SECP256R1")[0]}
    settings = sealed(tiny).model_copy(update={"sealed": change.get("sealed", True)})
    with pytest.raises(ConfigError, match=said):
        distill_settings(settings, tmp_path / "run", sign=files[change["sign"]])
    assert not (tmp_path / "run").exists()


def test_a_service_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    settings = sealed(tiny, teacher="openai:model@http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="asks nobody"):
        run(settings, tmp_path / "run")


def test_the_commands(tiny: Tiny, keys: tuple[Path, Path], tmp_path: Path) -> None:
    args = [
        "distill",
        "--config",
        str(tiny.config(tiny.settings("noise", OPTIONS, budget="2steps", strict=False), folder=tmp_path)),
    ]
    ended = CliRunner().invoke(app, [*args, "--sealed", "--sign", str(keys[0]), "--out", str(tmp_path / "run")])
    assert ended.exit_code == 0, ended.output
    assert "sansdata verify" in ended.output
    ended = CliRunner().invoke(app, ["verify", str(tmp_path / "run"), "--key", str(keys[1])])
    assert ended.exit_code == 0
    assert "none changed, removed or moved (SEALED 3)" in ended.output
    assert "signature by the key" in ended.output
    path = tmp_path / "run" / chain.CHAIN
    path.write_bytes(path.read_bytes().replace(b'"status":"done"', b'"status":"dine"'))
    ended = CliRunner().invoke(app, ["verify", str(tmp_path / "run")])
    assert isinstance(ended.exception, SealError)
    assert signing_key(keys[0]).fingerprint
