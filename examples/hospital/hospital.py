"""The hospital: checks what came, distils it sealed, validates on its own cases, teaches the student further, ships."""

from __future__ import annotations

from cases import write_ward
from picture import draw
from steps import arguments, key_pair, sansdata, say

DISTILLED = {
    "digits": ["--method", "fm", "--preset", "small", "--budget", "2500steps", "view=crop"],
    # Of two classes haze looks like the commoner one: statistics must not outweigh the class (docs/hospital.md).
    "pneumoniamnist": ["--method", "deepinversion", "--preset", "small", "--budget", "1200steps", "bn=1"],
}
QUICK = ["--method", "fm", "--preset", "small", "--budget", "150steps", "view=crop"]


def main() -> None:
    given = arguments(__doc__ or "")
    ward, house, came = given.folder / "ward", given.folder / "house", given.folder / "handed-over"
    ward.mkdir(parents=True)
    house.mkdir()
    write_ward(ward, given.data)
    key_pair(ward / "house.key", ward / "house.pub")
    bundle, run, tuned = came / "model-1.0.0.zip", house / "run", house / "tuned"
    teacher = ["--teacher", bundle, "--teacher-key", came / "vendor.pub"]
    say("Is it the vendor's, whole, and does it answer as the vendor's did?")
    sansdata("bundle", "verify", bundle, "--key", came / "vendor.pub")
    say("A student a quarter as large, without one image: sealed, offline, on a signed record")
    sansdata(
        "distill", *teacher, "--student", "shrink:0.5", "--sealed", "--sign", ward / "house.key", "--out", run,
        "--threads", 1, *(QUICK if given.quick else DISTILLED[given.data]),
    )  # fmt: skip
    say("Is it as good as its teacher here, on both scanners? The margin is written down before the cases are opened")
    cases = ["--data", ward / "cases.npz", "--manifest", ward / "cases.csv"]
    margin = ["--measure", "balanced_accuracy", "--margin", 0.03]
    sansdata("validate", run, "--teacher", bundle, *cases, *margin)
    say("A few cases of our own teach it further, held by what it knew; the student without data stays")
    sansdata("finetune", run, *cases, "--out", tuned, "head_lr=0.01", "block_lr=0.003", "epochs=60")
    say("Cases of other patients say what that was worth")
    later = ["--data", ward / "later.npz", "--manifest", ward / "later.csv"]
    sansdata("validate", run, "--teacher", bundle, *later, *margin, "--out", house / "before.json")
    sansdata(
        "validate", tuned / "student.safetensors", "--teacher", bundle, *later, *margin, "--out", house / "after.json"
    )
    draw(house / "before.json", house / "after.json", house / "scanners.svg")
    say("Out of the house: integers for the device, the card, and the student as a bundle of our own")
    sansdata("export", run, "--to", "onnx")
    sansdata("export", run, "--to", "onnx-int8")
    sansdata("card", run, "--out", house / "card.md", "name=Student of model 1.0.0", "license=other")
    store = given.folder / "device" / "store"
    store.mkdir(parents=True)
    sign = ["--sign", ward / "house.key"]
    sansdata("bundle", "create", run, "--out", store / "student-1.0.0", *sign, "version=1.0.0")
    sansdata(
        "bundle", "create", tuned / "student.safetensors", "--out", store / "student-1.1.0", *sign, "version=1.1.0"
    )
    sansdata("report", run)


if __name__ == "__main__":
    main()
