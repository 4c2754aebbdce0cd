"""What other tests of this process have left open must not decide these."""

from __future__ import annotations

import pytest

from sansdata.engine.guard import kernel


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors and mapped files that were there before the test are as if they were not: libraries keep some."""
    opened, mapped = kernel.descriptors, kernel.mapped_files
    old, old_maps = {one.target for one in opened().values() if one.is_file}, mapped()
    monkeypatch.setattr(kernel, "descriptors", lambda: {n: one for n, one in opened().items() if one.target not in old})
    monkeypatch.setattr(kernel, "mapped_files", lambda: mapped() - old_maps)
