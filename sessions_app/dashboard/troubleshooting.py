"""The troubleshooting page: ``docs/troubleshooting.md`` itself, so that the two can never say different things.

The file keeps to a small part of Markdown, and this reads that part and no more: headings, paragraphs, tables, code,
emphasis, and ``<a id="…"></a>`` at the start of a row. Everything else is shown as it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from hygate.roles import staff_only
from sessions_app.dashboard import frame

FILE = settings.BASE_DIR / "docs" / "troubleshooting.md"
ANCHOR = re.compile(r'^<a id="([a-z0-9-]+)"></a>')
RULE = re.compile(r"^\|[-|: ]+\|$")
INLINE = ((re.compile(r"`([^`]+)`"), r"<code>\1</code>"), (re.compile(r"\*([^*]+)\*"), r"<em>\1</em>"))


@dataclass(frozen=True)
class Row:
    anchor: str
    cells: list[SafeString]


@dataclass
class Section:
    title: str
    anchor: str
    paragraphs: list[SafeString] = field(default_factory=list)
    head: list[SafeString] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


@require_safe
@staff_only
def page(request: HttpRequest) -> HttpResponse:
    _about, *sections = read()
    return frame.page(request, "help.html", {"sections": sections}, here="help")


def link(name: str) -> str:
    """The address of the row about ``name`` (an error's, an alert's or its anchor), or nothing where there is none."""
    anchor = anchor_of(name)
    return f"{reverse('dashboard:help')}#{anchor}" if anchor in anchors() else ""


def anchor_of(name: str) -> str:
    return name.replace("_", "-")


@lru_cache(maxsize=1)
def anchors() -> frozenset[str]:
    sections = read()
    rows = [row.anchor for section in sections for row in section.rows if row.anchor]
    return frozenset([section.anchor for section in sections] + rows)


@lru_cache(maxsize=1)
def read() -> tuple[Section, ...]:
    return tuple(parsed(FILE.read_text(encoding="utf-8")))


def parsed(text: str) -> list[Section]:
    """The file's sections; each has a heading, paragraphs, and at most one table below them."""
    found: list[Section] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if lines[0].startswith("#"):
            title = lines[0].lstrip("#").strip()
            found.append(Section(title, slug(title)))
            lines = lines[1:]
        if lines and lines[0].startswith("|"):
            _table(found[-1], lines)
        elif lines:
            found[-1].paragraphs.append(inline(" ".join(lines)))
    return found


def slug(title: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _table(section: Section, lines: list[str]) -> None:
    for line in lines:
        if RULE.match(line):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        anchor = ANCHOR.match(cells[0])
        cells[0] = ANCHOR.sub("", cells[0])
        row = Row(anchor[1] if anchor else "", [inline(cell) for cell in cells])
        if section.head:
            section.rows.append(row)
        else:
            section.head = row.cells


def inline(text: str) -> SafeString:
    """Escaped first, so that nothing in the file is ever markup but what is put in here."""
    shown = str(escape(text))
    for pattern, markup in INLINE:
        shown = pattern.sub(markup, shown)
    return mark_safe(shown)  # noqa: S308 - escaped above
