"""JSON files that a test changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def change(file: Path, **fields: Any) -> None:
    """Some fields of the object that it holds, others as they were."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
