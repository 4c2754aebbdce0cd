"""The device: proves that it runs what was shipped, notices that its images have changed, and goes back a version."""

from __future__ import annotations

from steps import arguments, sansdata, say


def main() -> None:
    given = arguments(__doc__ or "")
    device, ward, run = given.folder / "device", given.folder / "ward", given.folder / "house" / "run"
    store, key = device / "store", ward / "house.pub"
    say("At boot: does this file answer here as it did where it was made?")
    sansdata("predict", run / "student.onnx", "--self-test")
    say("The counts of an ordinary week are the reference")
    new = store / "student-1.1.0"
    # The bundle's own reference is of synthetic inputs, from which real ones differ: 1 is what is expected.
    sansdata("monitor", new, "--data", ward / "later.npz", "--out", device / "reference.json", expected=1)
    say("Then all images come from scanner B. Counts alone are compared, no image leaves")
    sansdata(
        "monitor", new, "--data", ward / "scanner-b.npz", "--reference", device / "reference.json",
        "--out", device / "this-week.json", expected=1,
    )  # fmt: skip
    say("Until somebody has looked, the version before: the last one that is signed and whole")
    (store / "CURRENT").write_text("student-1.1.0\n")
    sansdata("bundle", "rollback", store, "--key", key)
    print((store / "CURRENT").read_text())


if __name__ == "__main__":
    main()
