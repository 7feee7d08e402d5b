"""What every PDF is set in: one typeface with Latin, Greek and Cyrillic letters, so that every name prints.

The library is loaded by whoever prints, not by whoever imports: it takes some 50 MB, and no worker ever prints.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpdf import FPDF

FACE = "Roboto"
NARROW_SPACE, SPACE = "\u202f", "\u00a0"


@lru_cache(maxsize=1)
def face() -> Path:
    import fontpkg

    return Path(fontpkg.path(FACE))


def set_in_face(pdf: FPDF) -> FPDF:
    """Give ``pdf`` the typeface under the name ``FACE``; only the letters that are used go into the file."""
    pdf.add_font(FACE, "", face())
    return pdf


def plain(text: str) -> str:
    """``text`` with spaces that the typeface has."""
    return text.replace(NARROW_SPACE, SPACE)
