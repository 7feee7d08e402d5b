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

SEEN = "X-Seen"
"""The header with what the browser shows: every live part is asked for with it, and nothing else is."""
ONCE = {"Cache-Control": "no-store"}
"""The same address is answered by what the browser shows, so no answer is good for anybody else."""
MARK_BYTES, MARK_CHARACTERS = 6, 8
MOST_PARTS = 500
"""Their marks fill 4 kB of the 8 kB that proxies let a header have; more parts are told whole."""
PART = re.compile(r'<(\w+) (?:[^>]* )?id="[\w-]+".*</\1>')
MOMENT = re.compile(r'( data-(?:now|since|ends|until)=")(\d+)"(?: value="\d+")?')
CLOCK = re.compile(r'( data-(?:since|ends)="\d+">)[^<]*')
"""What a clock has made of its moment."""
TOKEN = re.compile(r'(name="csrfmiddlewaretoken" value=")[^"]*')
"""Another one in every answer, each as good as the last."""


class Lines(NamedTuple):
    """The HTML of a live part: ``frame`` is the mark of all that is no part, ``parts`` those lines with their marks."""

    frame: str
    parts: list[tuple[str, str]]
    moments: list[int]


def answer(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """To the browser that shows ``SEEN``: 204 while ``context["mark"]`` is in it, else what is new.

    As JSON where only parts are new: ``seen``, their HTML (``parts``), and every moment of the whole, in ms, in order.
    """
    seen, shown, marks = [*request.headers.get(SEEN, "").split(".", 2), "", ""][:3]
    if seen == context["mark"]:
        return HttpResponse(status=204, headers=ONCE)
    html = render_to_string(f"dashboard/{template}", context, request)
    lines = _lines(html)
    if shown != lines.frame or len(marks) != MARK_CHARACTERS * len(lines.parts):
        return HttpResponse(_marked(html, context["mark"], lines), headers=ONCE)
    known = (marks[at : at + MARK_CHARACTERS] for at in range(0, len(marks), MARK_CHARACTERS))
    fresh = [text for (text, told), old in zip(lines.parts, known, strict=True) if told != old]
    news = {"seen": _seen(context["mark"], lines), "parts": fresh, "moments": lines.moments}
    return JsonResponse(news, headers=ONCE)


def whole(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Whatever the browser shows: the answer to an action that is to be seen in the part."""
    return HttpResponse(marked(render_to_string(f"dashboard/{template}", context, request), context["mark"]))


def marked(html: str, mark: str) -> SafeString:
    """The live part of a page, whole, with the mark that the browser asks with."""
    return _marked(html, mark, _lines(html))


def _marked(html: str, mark: str, lines: Lines) -> SafeString:
    seen = _seen(mark, lines)
    return SafeString(f'<input type="hidden" name="seen" value="{seen}" autocomplete="off">\n{html}')


def _seen(mark: str, lines: Lines) -> str:
    """The cheap mark alone where there are more parts than can be named."""
    if len(lines.parts) > MOST_PARTS:
        return mark
    return ".".join((mark, lines.frame, "".join(part for _, part in lines.parts)))


def _lines(html: str) -> Lines:
    """A line with something of htmx's in it is no part: what is put in by itself is not processed by htmx."""
    frame, parts = [], []
    for line in filter(None, map(str.strip, html.split("\n"))):
        told = TOKEN.sub(r"\1", MOMENT.sub(r"\1", CLOCK.sub(r"\1", line)))
        if PART.fullmatch(line) and " hx-" not in line:
            parts.append((line, _mark(told)))
            frame.append(told.partition('id="')[2].partition('"')[0])
        else:
            frame.append(told)
    return Lines(_mark("\n".join(frame)), parts, [int(moment) for _, moment in MOMENT.findall(html)])


def _mark(text: str) -> str:
    return urlsafe_b64encode(blake2s(text.encode(), digest_size=MARK_BYTES).digest()).decode()
