"""Labels as a PDF: sheets of stickers on A4, or one A6 sign a page, each with a device's QR code as vectors.

The code is always black on white with its quiet zone; only the band at the top wears the operator's colour. What may
be said on a label comes in as words (``Label``): this room knows neither languages nor guests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from devices import qr
from hygate.printing import FACE, plain, set_in_face

if TYPE_CHECKING:
    from fpdf import FPDF

INK, SOFT, PAPER = (21, 25, 29), (77, 86, 94), (255, 255, 255)
POINT_MM = 25.4 / 72
LEADING = 1.22
LEAST_SHARE = 0.5
"""A long line is set smaller, down to this share of its size; a longer one is cut."""
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, LEAST_SHARE)
MOST = 200
"""Labels in one file: about six seconds of work."""
ELLIPSIS = "…"
Color = tuple[int, int, int]
Corner = tuple[float, float]
Size = tuple[float, float]


@dataclass(frozen=True)
class Label:
    """What one label says. ``code`` is spelt as a guest compares it, ``url`` is what the QR code holds."""

    name: str
    place: str
    code: str
    url: str
    domain: str
    contact: str


@dataclass(frozen=True)
class Words:
    """What is the same on all: the company in the band, what to do, what to compare; the band's two colours."""

    company: str
    scan: str
    compare: str
    band: Color
    on_band: Color


@dataclass(frozen=True)
class Look:
    """``size`` in points. Strong is the regular face with a thin line around it: one font is in the file, not two."""

    size: float
    color: Color = INK
    strong: bool = False


@dataclass(frozen=True)
class Sheet:
    """A page of labels, in mm: the page, a label, the grid of them, its first corner and its steps."""

    title: str
    page: tuple[float, float]
    label: tuple[float, float]
    grid: tuple[int, int] = (1, 1)
    first: tuple[float, float] = (0.0, 0.0)
    step: tuple[float, float] = (0.0, 0.0)

    @property
    def places(self) -> int:
        return self.grid[0] * self.grid[1]

    def corner(self, place: int) -> tuple[float, float]:
        """Top left of the ``place``-th label, counted from 0 along the rows."""
        row, column = divmod(place, self.grid[0])
        return self.first[0] + column * self.step[0], self.first[1] + row * self.step[1]


A4, A6 = (210.0, 297.0), (105.0, 148.0)
SHEETS = {
    "a4-8": Sheet("A4, 8 labels of 99 × 68 mm", A4, (99.1, 67.7), (2, 4), (4.65, 13.1), (101.6, 67.7)),
    "a4-21": Sheet("A4, 21 labels of 64 × 38 mm", A4, (63.5, 38.1), (3, 7), (7.25, 15.15), (66.0, 38.1)),
    "a6": Sheet("A6 sign, one a page", A6, A6),
}
"""The A4 grids are those that sheets of stickers are sold in (99.1 × 67.7 and 63.5 × 38.1 mm)."""


def pdf(labels: Sequence[Label], words: Words, sheet: Sheet, *, skip: int = 0) -> bytes:
    """All ``labels``, beginning at place ``skip`` of the first sheet (0 to ``sheet.places`` - 1: the used ones)."""
    if not 0 <= skip < sheet.places:
        raise ValueError(f"a sheet has {sheet.places} places, {skip} of them cannot be used up")
    from fpdf import FPDF

    made = set_in_face(FPDF(unit="mm", format=sheet.page))
    made.set_auto_page_break(False)
    made.set_margin(0)
    made.c_margin = 0
    made.set_title(words.company)
    for number, label in enumerate(labels, skip):
        place = number % sheet.places
        if place == 0 or number == skip:
            made.add_page()
        _draw(made, label, words, sheet, sheet.corner(place))
    return bytes(made.output())


def _draw(made: FPDF, label: Label, words: Words, sheet: Sheet, corner: Corner) -> None:
    width, height = sheet.label
    if height > width:
        _sign(made, label, words, corner, sheet.label)
    else:
        _sticker(made, label, words, corner, sheet.label)


# -- the two designs


def _sticker(made: FPDF, label: Label, words: Words, corner: Corner, size: Size) -> None:
    """Wider than high: the QR code on the left, the words beside it. All lengths follow the height."""
    (left, top), (width, height) = corner, size
    edge, band = height * 0.07, height * 0.15
    _band(made, words, (left, top, width, band), edge)
    side = height - band - edge
    qr_code(made, label.url, left + edge / 2, top + band + edge / 2, side)
    scale = height / SHEETS["a4-8"].label[1]
    column = _Column(made, left + side + edge, top + band + edge, width - side - 2 * edge, scale)
    foot = column.at(top + height - edge)
    foot.up(label.contact, Look(9, SOFT))
    foot.up(label.domain, Look(10.5, strong=True))
    foot.up(label.code, Look(17, strong=True))
    foot.up(words.compare, Look(8, SOFT))
    column.line(label.name, Look(17, strong=True), most=3)
    column.line(label.place, Look(10.5, SOFT), most=2)
    column.gap(2.2)
    if column.height(Look(10.5)) <= foot.top - column.top:
        column.line(words.scan, Look(10.5))


def _sign(made: FPDF, label: Label, words: Words, corner: Corner, size: Size) -> None:
    """Higher than wide: name on top, the QR code as large as it goes, what to compare below it."""
    (left, top), (width, height) = corner, size
    edge, band = width * 0.07, height * 0.1
    _band(made, words, (left, top, width, band), edge)
    column = _Column(made, left + edge, top + band + edge * 0.7, width - 2 * edge, align="C")
    column.line(label.name, Look(26, strong=True), most=2)
    column.line(label.place, Look(12, SOFT), most=2)
    column.gap(1.5)
    column.line(words.scan, Look(13))
    foot = column.at(top + height - edge * 0.8)
    foot.up(label.contact, Look(10, SOFT))
    foot.up(label.domain, Look(13, strong=True))
    foot.up(label.code, Look(24, strong=True))
    foot.up(words.compare, Look(9, SOFT))
    side = min(width - 2 * edge, foot.top - column.top - 3)
    qr_code(made, label.url, left + (width - side) / 2, column.top + (foot.top - column.top - side) / 2, side)


def _band(made: FPDF, words: Words, box: tuple[float, float, float, float], edge: float) -> None:
    left, top, width, height = box
    made.set_fill_color(*words.band)
    made.rect(left, top, width, height, style="F")
    look = Look(height * 0.5 / POINT_MM / LEADING, words.on_band, strong=True)
    _Column(made, left + edge, top + height * 0.25, width - 2 * edge).line(words.company, look)


# -- the parts


def qr_code(made: FPDF, url: str, left: float, top: float, side: float) -> None:
    """The code with its quiet zone in ``side`` mm: one black path, a rectangle for each run of dark modules.

    Written as PDF operators: as single rectangles they would show hairlines between them, and fpdf2's own paths take
    a tenth of a second for each code.
    """
    rows = qr.modules(url)
    module = side / len(rows)
    made.set_fill_color(*PAPER)
    made.rect(left, top, side, side, style="F")
    runs = [(start, row, length) for row, cells in enumerate(rows) for start, length in qr.dark_runs(cells)]
    boxes = [(left + x * module, made.h - top - (y + 1) * module, length * module, module) for x, y, length in runs]
    path = " ".join(" ".join(f"{value * made.k:.4f}" for value in box) + " re" for box in boxes)
    made._out(f"q 0 g {path} f Q")


@dataclass
class _Column:
    """Lines of words in a column of ``width`` mm, written downwards from ``top`` or upwards from it."""

    made: FPDF
    left: float
    top: float
    width: float
    scale: float = 1.0
    align: str = "L"

    def at(self, top: float) -> _Column:
        return _Column(self.made, self.left, top, self.width, self.scale, self.align)

    def gap(self, height: float) -> None:
        self.top += height * self.scale

    def height(self, look: Look) -> float:
        return look.size * self.scale * POINT_MM * LEADING

    def line(self, text: str, look: Look, *, most: int = 1) -> None:
        """``text`` in ``most`` lines of one size where one line is not enough; an empty text takes no room."""
        lines = self._broken(plain(text), look.size, most)
        share = min((self._share(words, look.size) for words in lines), default=1.0)
        for words in lines:
            self._write(words, replace(look, size=look.size * share))
            self.top += self.height(look) * share

    def up(self, text: str, look: Look) -> None:
        """One line above those that stand already."""
        if text:
            self.top -= self.height(look)
            self._write(plain(text), replace(look, size=look.size * self._share(plain(text), look.size)))

    def _broken(self, text: str, size: float, most: int) -> list[str]:
        """At its blanks, for the largest of the sizes at which all of it fits; else for the smallest, to be cut."""
        self.made.set_font(FACE, size=size * self.scale)
        lines: list[str] = []
        for share in SHARES:
            lines = self._greedily(text, self.width / share, most)
            if all(self.made.get_string_width(words) <= self.width / share for words in lines):
                break
        return lines

    def _greedily(self, text: str, width: float, most: int) -> list[str]:
        """What is left over stays in the last line."""
        lines: list[str] = []
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and (len(lines) == most or self.made.get_string_width(longer) <= width):
                lines[-1] = longer
            elif word:
                lines.append(word)
        return lines

    def _share(self, text: str, size: float) -> float:
        """Of ``size``: as much as lets ``text`` fit, and no less than ``LEAST_SHARE``."""
        self.made.set_font(FACE, size=size * self.scale)
        return max(LEAST_SHARE, min(1.0, self.width / max(self.made.get_string_width(text), 0.1)))

    def _write(self, text: str, look: Look) -> None:
        from fpdf.enums import TextMode

        self.made.set_font(FACE, size=look.size * self.scale)
        self.made.set_text_color(*look.color)
        self.made.set_draw_color(*look.color)
        mode, rim = (TextMode.FILL_STROKE, look.size * self.scale * 0.008) if look.strong else (TextMode.FILL, 0.2)
        with self.made.local_context(text_mode=mode, line_width=rim):
            self.made.set_xy(self.left, self.top)
            self.made.cell(self.width, self.height(look), self._cut(text), align=self.align)

    def _cut(self, text: str) -> str:
        """What does not fit even at its smallest loses its end."""
        if self.made.get_string_width(text) <= self.width + 0.01:
            return text
        while text and self.made.get_string_width(text + ELLIPSIS) > self.width:
            text = text[:-1].rstrip()
        return text + ELLIPSIS
