"""The QR code of a label, as SVG for print and as PNG for everything else. Needs no image library."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import qrcode
from qrcode.constants import ERROR_CORRECT_Q
from qrcode.image.svg import SvgPathImage

PIXELS_A_MODULE = 12
QUIET_MODULES = 4
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _code(url: str) -> qrcode.QRCode[Any]:
    """A quarter of the label may be scratched away and it still reads (level Q)."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_Q, border=QUIET_MODULES, box_size=PIXELS_A_MODULE)
    code.add_data(url)
    code.make(fit=True)
    return code


def modules(url: str) -> list[list[bool]]:
    """The code as rows of modules, true where dark, with the quiet zone around it."""
    return [[bool(dark) for dark in row] for row in _code(url).get_matrix()]


def dark_runs(row: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Where dark begins in a row of modules, and for how many."""
    start = 0
    for dark, run in groupby(row):
        length = len(list(run))
        if dark:
            yield start, length
        start += length


def svg(url: str) -> bytes:
    out = io.BytesIO()
    _code(url).make_image(image_factory=SvgPathImage).save(out)
    return out.getvalue()


def png(url: str) -> bytes:
    """Black and white, one bit a pixel. ``url`` in, a whole PNG file out."""
    rows = [_bits(row) * PIXELS_A_MODULE for row in _code(url).get_matrix()]
    side = len(rows) * PIXELS_A_MODULE
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        PNG_SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"".join(rows), 9))
        + _chunk(b"IEND", b"")
    )


def _bits(modules: Sequence[bool | None]) -> bytes:
    """One line of pixels: the filter byte, then a bit a pixel, dark as 0."""
    pixels = "".join(("0" if dark else "1") * PIXELS_A_MODULE for dark in modules)
    pixels += "0" * (-len(pixels) % 8)
    return b"\0" + int(pixels, 2).to_bytes(len(pixels) // 8, "big")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
