"""A guest made of plain HTTP: reads pages, fills in forms, follows redirects. No script runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

STATE = re.compile(r'<main[^>]*\bdata-state="([a-z_]+)"')
HEADLINE = re.compile(r"<h[12][^>]*>(.*?)</h[12]>", re.DOTALL)
MOST_HOPS = 5


class Unexpected(Exception):
    """A page is not what a guest needs at this point; the text is a sentence."""


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)


class Forms(HTMLParser):
    """The forms of a page, with what stands in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._open: Form | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("action", ""), given.get("method", "get").lower())
            self.found.append(self._open)
        elif tag == "input" and self._open is not None and given.get("name"):
            self._take_input(self._open, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    @staticmethod
    def _take_input(form: Form, given: dict[str, str]) -> None:
        name, value = given["name"], given.get("value", "")
        if given.get("type") == "radio":
            form.choices.setdefault(name, []).append(value)
            if "checked" not in given:
                return
        form.fields[name] = value


class Guest:
    """One phone: its cookies, and the page it shows."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.page: httpx.Response | None = None

    @property
    def html(self) -> str:
        return self.page.text if self.page is not None else ""

    @property
    def url(self) -> str:
        return str(self.page.url) if self.page is not None else ""

    @property
    def state(self) -> str:
        """What the page says it shows: ``running``, ``in_use``, …"""
        hit = STATE.search(self.html)
        return hit[1] if hit else ""

    @property
    def headline(self) -> str:
        hit = HEADLINE.search(self.html)
        return " ".join(re.sub(r"<[^>]+>", " ", hit[1]).split()) if hit else "no headline"

    def open(self, url: str) -> None:
        self._follow(self._client.get(url))

    def submit(self, form: Form, **chosen: str) -> None:
        self._follow(self._client.post(urljoin(self.url, form.action), data={**form.fields, **chosen}))

    def form(self, *, action_ends: str = "", has: str = "") -> Form | None:
        for one in Forms(self.html).found:
            names = {*one.fields, *one.choices}
            if one.method == "post" and one.action.endswith(action_ends) and (not has or has in names):
                return one
        return None

    def _follow(self, answer: httpx.Response) -> None:
        for _ in range(MOST_HOPS):
            if not answer.is_redirect:
                break
            answer = self._client.get(urljoin(str(answer.url), answer.headers["Location"]))
        if answer.status_code >= 500 or answer.is_redirect:
            raise Unexpected(f"The page {answer.url.path} answered {answer.status_code}.")
        self.page = answer
