"""Printed labels: every code reads back as it was meant, sheets begin where they shall, and nothing leaves its box."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from devices import qr
from devices.labels import SHEETS, Label, Sheet, Words, pdf

BAND = (21, 62, 99)
WORDS = Words("Seaside Camping", "Scan, pay, start.", "Compare before you pay:", BAND, (255, 255, 255))
LONG = "Waschmaschine im Nordflügel, Untergeschoß 12, Kellerabteil"
MM = 72 / 25.4
FINDER = [[1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 1], [1, 0, 1, 1, 1, 0, 1]]


def label(number: int = 1, name: str = "Washer 1") -> Label:
    url = f"https://wash.example.com/d/ABC{number:03d}/"
    return Label(name, "left of the door", f"ABC {number:03d}", url, "wash.example.com", "+43 660 1234567")


def streams(made: bytes) -> list[str]:
    """The drawing of each page."""
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", made, re.DOTALL)
    texts = []
    for raw in found:
        try:
            text = zlib.decompress(raw)
        except zlib.error:
            continue
        if b" re" in text:
            texts.append(text.decode("latin-1"))
    return texts


def dark_boxes(drawing: str) -> list[list[tuple[float, float, float, float]]]:
    """The black rectangles of each QR code on a page, in points: left, bottom, width, height."""
    paths = re.findall(r"q 0 g (.*?) f Q", drawing)
    return [
        [tuple(map(float, box.split())) for box in re.findall(r"((?:[\d.-]+ ){4})re", path)]  # type: ignore[misc]
        for path in paths
    ]


def read_off(boxes: list[tuple[float, float, float, float]]) -> list[list[bool]]:
    """The modules without the quiet zone, from where the rectangles lie."""
    module = min(height for *_, height in boxes)
    left, top = min(box[0] for box in boxes), max(box[1] + box[3] for box in boxes)
    side = round((max(box[0] + box[2] for box in boxes) - left) / module)
    rows = [[False] * side for _ in range(side)]
    for x, y, width, height in boxes:
        row, column = round((top - y - height) / module), round((x - left) / module)
        for one in range(round(width / module)):
            rows[row][column + one] = True
    return rows


@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS)
def test_the_drawn_modules_are_the_codes(sheet: Sheet) -> None:
    (drawing,) = streams(pdf([label()], WORDS, sheet))
    (boxes,) = dark_boxes(drawing)
    quiet = qr.QUIET_MODULES
    wanted = [row[quiet:-quiet] for row in qr.modules(label().url)[quiet:-quiet]]
    assert read_off(boxes) == wanted
    assert [[int(one) for one in row[:7]] for row in wanted[:3]] == FINDER


@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS)
def test_a_code_has_its_quiet_zone_and_modules_of_half_a_millimetre(sheet: Sheet) -> None:
    (drawing,) = streams(pdf([label()], WORDS, sheet))
    (boxes,) = dark_boxes(drawing)
    module = min(height for *_, height in boxes)
    assert module / MM >= 0.5
    left, top = sheet.corner(0)
    lowest_band = sheet.page[1] * MM - (top + sheet.label[1] * 0.1) * MM
    assert min(box[0] for box in boxes) - left * MM >= qr.QUIET_MODULES * module
    assert max(box[1] + box[3] for box in boxes) <= lowest_band - qr.QUIET_MODULES * module


@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS)
def test_labels_lie_side_by_side_on_the_page(sheet: Sheet) -> None:
    corners = [sheet.corner(place) for place in range(sheet.places)]
    (width, height), page = sheet.label, sheet.page
    for x, y in corners:
        assert x >= 0
        assert y >= 0
        assert x + width <= page[0] + 0.05
        assert y + height <= page[1] + 0.05
    for number, (x, y) in enumerate(corners):
        for x2, y2 in corners[number + 1 :]:
            assert abs(x - x2) >= width - 0.01 or abs(y - y2) >= height - 0.01


def test_printing_begins_behind_the_used_places() -> None:
    sheet = SHEETS["a4-8"]
    first, second = streams(pdf([label(number) for number in range(4)], WORDS, sheet, skip=6))
    assert [len(dark_boxes(first)), len(dark_boxes(second))] == [2, 2]
    left, top = sheet.corner(6)
    assert min(box[0] for box in dark_boxes(first)[0]) > left * MM
    assert max(box[1] for box in dark_boxes(first)[0]) < (sheet.page[1] - top) * MM


@pytest.mark.parametrize("skip", [-1, 8])
def test_a_sheet_cannot_begin_where_it_has_no_place(skip: int) -> None:
    with pytest.raises(ValueError, match="8 places"):
        pdf([label()], WORDS, SHEETS["a4-8"], skip=skip)


def test_the_band_has_the_colour_and_the_code_has_not() -> None:
    (drawing,) = streams(pdf([label()], WORDS, SHEETS["a6"]))
    band = " ".join(f"{one / 255:.4f}".rstrip("0") for one in BAND)
    assert re.search(rf"{band.split()[0]}\d* {band.split()[1]}\d* {band.split()[2]}\d* rg", drawing)
    assert "q 0 g " in drawing


def test_one_font_and_no_picture_is_in_the_file() -> None:
    made = pdf([label(number) for number in range(30)], WORDS, SHEETS["a4-21"])
    assert made.count(b"/FontFile2") == 1
    assert b"/Subtype /Image" not in made


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS)
def test_a_label_says_what_a_guest_compares(sheet: Sheet, tmp_path: Path) -> None:
    text = " ".join(printed(pdf([label(name=LONG)], WORDS, sheet), tmp_path).split())
    for words in (LONG, "left of the door", "ABC 001", "wash.example.com", "+43 660 1234567"):
        assert words in text


@pytest.mark.skipif(
    shutil.which("zbarimg") is None or shutil.which("pdftoppm") is None, reason="zbarimg or pdftoppm is not installed"
)
@pytest.mark.parametrize("key", SHEETS)
def test_a_scanner_reads_every_code_back(key: str, tmp_path: Path) -> None:
    labels = [label(number, LONG if number % 2 else "Washer") for number in range(1, 6)]
    sheet = tmp_path / "labels.pdf"
    sheet.write_bytes(pdf(labels, WORDS, SHEETS[key]))
    subprocess.run(["pdftoppm", "-r", "150", "-gray", sheet, tmp_path / "page"], check=True)
    pages = sorted(tmp_path.glob("page*"))
    said = subprocess.run(["zbarimg", "-q", "--raw", *pages], capture_output=True, text=True, check=True)
    assert sorted(said.stdout.split()) == sorted(one.url for one in labels)


def printed(made: bytes, folder: Path) -> str:
    (folder / "labels.pdf").write_bytes(made)
    said = subprocess.run(["pdftotext", folder / "labels.pdf", "-"], capture_output=True, text=True, check=True)
    return said.stdout
