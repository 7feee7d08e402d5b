"""One desk: a browser in which somebody of the staff runs the site, and what is looked at on every page there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Route, expect

from tests.e2e.phone import EXPECTED, Phone, Wrong, loose

CONTRAST = ["color-contrast"]
FRONT = "dialog[open], body:not(:has(dialog[open]))"
LIVE = re.compile(r"/dashboard/(.*/)?live/")
BATCH = 25
CLICKABLE = (
    "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0'], [hx-get]:not([hx-trigger])"
)
HIDDEN_YET_SEEN = """() => [...document.querySelectorAll('[hidden]')].filter(one => one.checkVisibility())
  .map(one => one.outerHTML.slice(0, 80))"""
BROKEN_WORDS = """() => [...document.querySelectorAll('h1')].flatMap(one => {
  const text = document.createTreeWalker(one, NodeFilter.SHOW_TEXT), broken = [];
  while (text.nextNode())
    for (const word of text.currentNode.data.matchAll(/[^\\s-]+/g)) {
      const range = document.createRange();
      range.setStart(text.currentNode, word.index);
      range.setEnd(text.currentNode, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  return broken;
})"""
WALK = """clickable => {
  const reached = new WeakSet(), walked = [...document.querySelectorAll(clickable)];
  addEventListener('focusin', event => reached.add(event.target), true);
  const shown = one => one.checkVisibility({visibilityProperty: true}) && !one.closest('[inert]');
  const first = one => document.querySelector(`[type=radio][name="${one.name}"]:checked`) || one;
  const asked = walked.filter(one => shown(one) && !one.disabled)
    .filter(one => one.type !== 'radio' || first(one) === one);
  const told = one => `${one.tagName} "${(one.textContent.trim() || one.name || one.ariaLabel || '').slice(0, 30)}"`;
  window.walk = () => asked.filter(one => one.isConnected && shown(one) && !reached.has(one)).map(told);
  window.pointed = () => [...document.querySelectorAll('body *')]
    .filter(one => getComputedStyle(one).cursor === 'pointer' && shown(one) && !one.closest(clickable + ', label'))
    .map(told);
  document.activeElement?.blur();
  return asked.length;
}"""


class Desk(Phone):
    """``tap``, ``fill`` and ``choose`` speak to the dialog while one is open, else to the page; clicks are counted."""

    expected = re.compile(f"{EXPECTED.pattern}|status of (403|422)|47DEQpj8")
    """Besides what a phone may say: refused pages, forms with errors, and the empty style of a picture."""

    clicks = 0

    def login(self, email: str, password: str) -> None:
        self.open("/dashboard/")
        self.fill("E-mail address", email)
        self.fill("Password", password)
        self.tap("Log in")

    # -- a hand

    @property
    def front(self) -> Locator:
        return self.page.locator(FRONT)

    def tap(self, words: str | re.Pattern[str], *, within: str = "") -> None:
        """A button, link or tab by its whole name; ``within`` names the part of the page that holds it."""
        where = self.front.locator(within).first if within else self.front
        name = re.compile(rf"^\s*{re.escape(words)}\s*$") if isinstance(words, str) else words
        both = where.get_by_role("button", name=name).or_(where.get_by_role("link", name=name))
        self.click(both.first)

    def click(self, one: Locator) -> None:
        one.click()
        self.clicks += 1

    def fill(self, label: str | re.Pattern[str], text: str) -> None:
        self.front.get_by_label(label, exact=True).fill(text)

    def choose(self, label: str, option: str | re.Pattern[str]) -> None:
        """An entry of a list, by how it begins."""
        box = self.front.get_by_label(label, exact=True)
        entry = box.locator("option").filter(has_text=option).first
        box.select_option(value=entry.get_attribute("value"))
        self.clicks += 1

    def asked(self, title: str) -> None:
        """Until the dialog is there: its own button may be called like the one that opened it."""
        expect(self.page.locator("dialog[open] h2")).to_contain_text(loose(title))

    def said(self, words: str | re.Pattern[str]) -> None:
        """What the page says about the last thing that was done, or refused."""
        expect(self.page.locator("main .say").filter(has_text=loose(words)).first).to_be_visible()

    def download(self, words: str | re.Pattern[str], *, within: str = "") -> tuple[str, bytes]:
        """Name and contents of the file behind a button or link."""
        with self.page.expect_download() as told:
            self.tap(words, within=within)
        return told.value.suggested_filename, Path(told.value.path()).read_bytes()

    @contextmanager
    def task(self, what: str, *, clicks: int) -> Iterator[None]:
        """What the day asks for, within so many clicks; typing is free."""
        before = self.clicks
        yield
        if (took := self.clicks - before) > clicks:
            raise Wrong(f"{what} took {took} clicks, and not {clicks}")

    # -- judgement

    def sizes(self) -> list[str]:
        """A mouse needs 24 px (WCAG 2.2 AA), and axe looks for that. What is hidden must not be seen."""
        hidden = (f"hidden, and yet seen: {one}" for one in self.page.evaluate(HIDDEN_YET_SEEN))
        broken = (f"the heading breaks within {word}" for word in self.page.evaluate(BROKEN_WORDS))
        return [*self.sideways(), *hidden, *broken]

    def look(self, what: str, *, both: bool = False) -> None:
        """As on a phone; ``both`` asks for the contrast in the dark as well."""
        super().look(what)
        if not both:
            return
        self.page.emulate_media(color_scheme="dark")
        found = self.accessibility(CONTRAST)
        self.page.emulate_media(color_scheme="light")
        if found:
            raise Wrong(f"{what}, in the dark: " + "; ".join(found))

    def hold_still(self) -> None:
        """Live parts are told that nothing is new, so that nothing moves while the page is walked."""
        self.page.route(LIVE, _nothing_new)

    def walk(self, what: str) -> None:
        """By Tab alone to everything that can be clicked, and nothing can be clicked that is no control."""
        count = self.page.evaluate(WALK, CLICKABLE)
        missing: list[str] = self.page.evaluate("walk()")
        for _ in range(4 + 2 * count // BATCH):
            if not missing:
                break
            for _ in range(min(BATCH, len(missing) + 1)):
                self.page.keyboard.press("Tab")
            missing = self.page.evaluate("walk()")
        pointed: list[str] = self.page.evaluate("pointed()")
        if missing or pointed:
            raise Wrong(f"{what}: Tab does not reach {missing[:5]}; clickable and no control: {pointed[:5]}")


def _nothing_new(route: Route) -> None:
    route.fulfill(status=204)
