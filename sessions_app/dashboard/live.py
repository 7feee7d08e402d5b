"""What a page asks for again every few seconds: nothing while nothing is new there, else what is new, and no more.

A part is a line of the HTML that holds one element with an id: a tile, a row. The browser says which parts it shows by
their marks. Where nothing but parts and moments differs, it gets those parts and all moments; for hundreds of tiles
that is a tenth of the browser's work. Everything else (a tile more, another order) is told whole.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import blake2s
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

MARK_BYTES, MARK_CHARACTERS = 6, 8
MOST_PARTS = 500
"""The marks are in the question's address, which proxies let through up to 8 kB; more parts are told whole."""
PART = re.compile(r'<(\w+) (?:[^>]* )?id="[\w-]+".*</\1>')
MOMENT = re.compile(r'( data-(?:now|since|ends|until)=")(\d+)"(?: value="\d+")?(?:>[^<]*)?')
"""A moment with what a clock has made of it."""
TOKEN = re.compile(r'(name="csrfmiddlewaretoken" value=")[^"]*')
"""Another one in every answer, each as good as the last."""


class Lines(NamedTuple):
    """The HTML of a live part: ``frame`` is the mark of all that is no part, ``parts`` those lines with their marks."""

    frame: str
    parts: list[tuple[str, str]]
    moments: list[int]


def answer(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """To the browser that shows ``seen``: 204 while ``context["mark"]`` is in it, else what is new.

    As JSON where only parts are new: ``seen``, their HTML (``parts``), and every moment of the whole, in ms, in order.
    """
    mark, _, shown = request.GET.get("seen", "").partition(".")
    if mark == context["mark"]:
        return HttpResponse(status=204)
    html = render_to_string(f"dashboard/{template}", context, request)
    lines = _lines(html)
    frame, _, marks = shown.partition(".")
    if not marks or frame != lines.frame or len(marks) != MARK_CHARACTERS * len(lines.parts):
        return HttpResponse(_marked(html, context["mark"], lines))
    known = (marks[at : at + MARK_CHARACTERS] for at in range(0, len(marks), MARK_CHARACTERS))
    fresh = [text for (text, mark), old in zip(lines.parts, known, strict=True) if mark != old]
    return JsonResponse({"seen": _seen(context["mark"], lines), "parts": fresh, "moments": lines.moments})


def marked(html: str, mark: str) -> SafeString:
    """The live part of a page, whole, with the mark that the browser asks with."""
    return _marked(html, mark, _lines(html))


def _marked(html: str, mark: str, lines: Lines) -> SafeString:
    return SafeString(f'<input type="hidden" name="seen" value="{_seen(mark, lines)}">\n{html}')


def _seen(mark: str, lines: Lines) -> str:
    """The cheap mark alone where nothing can be told by parts."""
    if not 0 < len(lines.parts) <= MOST_PARTS:
        return mark
    return ".".join((mark, lines.frame, "".join(mark for _, mark in lines.parts)))


def _lines(html: str) -> Lines:
    frame, parts = [], []
    for line in filter(None, map(str.strip, html.split("\n"))):
        told = TOKEN.sub(r"\1", MOMENT.sub(r"\1", line))
        if PART.fullmatch(line):
            parts.append((line, _mark(told)))
            frame.append(told.partition('id="')[2].partition('"')[0])
        else:
            frame.append(told)
    return Lines(_mark("\n".join(frame)), parts, [int(moment) for _, moment in MOMENT.findall(html)])


def _mark(text: str) -> str:
    return urlsafe_b64encode(blake2s(text.encode(), digest_size=MARK_BYTES).digest()).decode()
