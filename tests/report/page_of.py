"""A page as a test reads it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sansdata.report import write_report

HOSTILE = "<script>alert(1)</script>\"' onload=x $\\frac{ & 猫 \u202e\x00"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects tags and text by section, and checks that every tag is closed in order."""

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.html = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.here = "top"
        self.feed(self.html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("section", "header"):
            self.here = dict(attrs)["id"] or ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            words = " ".join(data.split())  # no-break spaces too
            self.text[self.here] = (
                (self.text.get(self.here, "") + " " + words).strip() if words else self.text.get(self.here, "")
            )

    @property
    def labels(self) -> list[str | None]:
        """What the drawings say they show."""
        return [attributes.get("aria-label") for tag, attributes in self.tags if tag == "svg"]


def page(run: Path, evaluation: dict[str, Any] | None = None) -> Page:
    return Page(write_report(run, evaluation))


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
