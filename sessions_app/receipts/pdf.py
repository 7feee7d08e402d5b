"""A receipt as a PDF of one page. The typeface has Latin, Greek and Cyrillic letters, so that every name prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from hygate.printing import FACE, plain, set_in_face
from sessions_app.receipts.paper import Paper, Row

if TYPE_CHECKING:
    from fpdf import FPDF

MARGIN, WIDTH, AMOUNT = 20.0, 170.0, 42.0
"""Millimetres on A4: the edge, what is between the edges, and the column of amounts."""
LAST_ROW = 245.0
"""Millimetres from the top, below which a row begins a new page."""
INK, SOFT, RULE = (21, 25, 29), (77, 86, 94), (160, 168, 175)


def printed(paper: Paper) -> bytes:
    pdf = new_sheet(paper.number, paper.company)
    _head(pdf, paper)
    for group in paper.groups:
        rule(pdf)
        for row in group:
            write_row(pdf, row)
        pdf.ln(2)
    pdf.ln(6)
    for line in paper.seller:
        write_line(pdf, line, size=9.5, color=SOFT)
    write_line(pdf, _("All times: %(zone)s") % {"zone": paper.zone}, size=9.5, color=SOFT)
    return bytes(pdf.output())


def new_sheet(title: str, author: str) -> FPDF:
    """An empty first page of A4 that goes on by itself."""
    from fpdf import FPDF

    pdf = set_in_face(FPDF(format="A4"))
    pdf.set_margins(MARGIN, MARGIN)
    pdf.c_margin = 0  # words begin where the rules do
    pdf.set_auto_page_break(True, MARGIN)
    pdf.set_title(title)
    pdf.set_author(plain(author))
    pdf.set_lang(get_language() or "en")
    pdf.add_page()
    return pdf


def rule(pdf: FPDF) -> None:
    pdf.set_draw_color(*RULE)
    pdf.line(MARGIN, pdf.get_y(), MARGIN + WIDTH, pdf.get_y())
    pdf.ln(2)


def _head(pdf: FPDF, paper: Paper) -> None:
    write_line(pdf, paper.company, size=12, color=SOFT)
    pdf.ln(4)
    write_line(pdf, _("Receipt"), size=24, strong=True)
    write_line(pdf, f"{paper.number} · {paper.dated}", size=11, color=SOFT)
    pdf.ln(4)
    write_line(pdf, paper.money.first, size=13, strong=True)
    write_line(pdf, paper.money.rest, size=11, color=SOFT)
    pdf.ln(6)


def write_row(pdf: FPDF, row: Row) -> None:
    """What on the left, as many lines as it takes; the amount on the right, level with the first."""
    if pdf.get_y() > LAST_ROW:
        pdf.add_page()
    strong, size = row.look == "sum", 15.0 if row.look == "sum" else 11.0
    color, top = SOFT if row.look == "soft" else INK, pdf.get_y()
    write_line(pdf, row.what, size=size, color=color, strong=strong, width=WIDTH - AMOUNT)
    if row.under:
        write_line(pdf, row.under, size=9.5, color=SOFT, width=WIDTH - AMOUNT)
    below = pdf.get_y()
    pdf.set_xy(MARGIN + WIDTH - AMOUNT, top)
    write_line(pdf, row.amount, size=size, color=color, strong=strong, width=AMOUNT, align="R")
    pdf.set_y(below + 1)


def write_line(
    pdf: FPDF,
    text: str,
    *,
    size: float,
    color: tuple[int, int, int] = INK,
    strong: bool = False,
    width: float = WIDTH,
    align: str = "L",
) -> None:
    """Words of one look. Bold is the regular face with a thin line around it: one font is in the file, not two."""
    from fpdf.enums import TextMode, XPos, YPos

    pdf.set_font(FACE, size=size)
    pdf.set_text_color(*color)
    pdf.set_draw_color(*color)
    with pdf.local_context(
        text_mode=TextMode.FILL_STROKE if strong else TextMode.FILL, line_width=size * 0.008 if strong else 0.2
    ):
        pdf.multi_cell(width, size * 0.5, plain(text), align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
