"""Packages of third parties, known without being installed."""

from __future__ import annotations

from pathlib import Path

from sansdata.tasks.kinds import GROUP


def declare(folder: Path, name: str, kinds: dict[str, str]) -> None:
    """What pip leaves beside a package: its name and its entry points."""
    folder = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [f"{kind} = {place}\n" for kind, place in kinds.items()]
    (folder / "entry_points.txt").write_text(f"[{GROUP}]\n" + "".join(lines))
