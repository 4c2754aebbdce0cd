"""The auditor: checks the record, audits the student, and tries to deceive."""

from __future__ import annotations

import json
import shutil

from steps import arguments, sansdata, say


def main() -> None:
    given = arguments(__doc__ or "")
    ward, run, came = given.folder / "ward", given.folder / "house" / "run", given.folder / "handed-over"
    key = ward / "house.pub"
    say("What was done with the run, in which order, and with which data")
    sansdata("verify", run, "--key", key)
    say("What can be said of the student, by what there is to say it from")
    sansdata(
        "audit", run, "--teacher", came / "model-1.0.0.zip", "--data", ward / "later.npz",
        "--manifest", ward / "later.csv", "--groups", "scanner",
    )  # fmt: skip
    say("A line of the record is made friendlier: is it seen?")
    forged = given.folder / "forged"
    shutil.copytree(run, forged)
    record = forged / "chain.jsonl"
    lines = record.read_text().splitlines()
    entry = json.loads(lines[1])
    lines[1] = json.dumps(entry | {"when": "2020-01-01T00:00:00Z"}, sort_keys=True, separators=(",", ":"))
    record.write_text("\n".join(lines) + "\n")
    sansdata("verify", forged, "--key", key, expected=2)
    say("A byte of the vendor's model is changed: is it seen?")
    bundle = bytearray((came / "model-1.0.0.zip").read_bytes())
    bundle[len(bundle) // 2] ^= 1
    changed = given.folder / "changed.zip"
    changed.write_bytes(bytes(bundle))
    sansdata("bundle", "verify", changed, "--key", came / "vendor.pub", expected=2)


if __name__ == "__main__":
    main()
