"""One phone: a browser of its own with one tab or more, and what is looked at on every page it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SERIOUS = ("serious", "critical")
ASK_AXE = "rules => axe.run({runOnly: rules, resultTypes: ['violations'], preload: false})"
LEAST_TARGET_PX = 44
SLOW_4G = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
EXPECTED = re.compile(r"the server responded with a status of (404|409|410|429)|net::ERR_INTERNET_DISCONNECTED")
SMALL_TARGETS = """least => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary, .plan')]
  .filter(one => !(one.matches('input') && one.closest('label')))
  .map(one => [one.getBoundingClientRect(), one])
  .filter(([box, one]) => box.width && box.height && one.checkVisibility({visibilityProperty: true}))
  .filter(([box]) => Math.round(box.width) < least || Math.round(box.height) < least)
  .map(([box, one]) => `${one.tagName} "${one.textContent.trim().slice(0, 30)}" ${box.width|0}x${box.height|0}`)"""


class Wrong(AssertionError):
    """A page is not what it has to be; the text is a sentence."""


class Phone:
    """``open`` a path, ``tap`` what is written there, ``reads`` what the page says first; ``look`` judges the page."""

    expected = EXPECTED

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.context, self.base_url = context, base_url
        self.complaints: list[str] = []
        self.page = self.tab()

    def tab(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page = page
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not self.expected.search(message.text):
            self.complaints.append(message.text)

    # -- a thumb

    def open(self, path: str) -> None:
        self.page.goto(path if path.startswith("http") else self.base_url + path)

    def tap(self, words: str | re.Pattern[str]) -> None:
        """A button or link by what is written on it."""
        both = self.page.get_by_role("button", name=words).or_(self.page.get_by_role("link", name=words))
        both.first.click()

    # -- eyes

    @property
    def url(self) -> str:
        return str(self.page.url)

    @property
    def state(self) -> str:
        return self.page.locator("main").get_attribute("data-state") or ""

    def until(self, state: str, within_s: float = 30) -> None:
        """Until the page itself shows that state, by its own script or, without one, by reloading itself."""
        expect(self.page.locator("main")).to_have_attribute("data-state", state, timeout=within_s * 1000)

    def sees(self, words: str | re.Pattern[str], within_s: float = 15) -> None:
        expect(self.page.locator("body")).to_contain_text(loose(words), timeout=within_s * 1000)

    def first_words(self) -> str:
        """What a page says first: the money where it has money, else its answer, else the sentence under the device."""
        main = self.page.locator("main")
        for first in (".money", ".answer h1", ".stage .say"):
            if main.locator(first).count():
                return plain(main.locator(first).first.inner_text())
        return plain(main.locator("h1").first.inner_text())

    def reads(self, words: str) -> None:
        said = self.first_words()
        if not said.startswith(words):
            raise Wrong(f"the first sentence is {said!r} and not {words!r}")

    # -- judgement

    def look(self, what: str) -> None:
        """No serious finding of axe, no target under 44 px, no sideways scrolling, no complaint of the browser."""
        found = [*self.accessibility(), *self.sizes(), *self.complaints]
        if found:
            raise Wrong(f"{what}: " + "; ".join(found))

    def accessibility(self, rules: list[str] = RULES) -> list[str]:
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        answer: dict[str, Any] = self.page.evaluate(ASK_AXE, rules)
        return [
            f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:120]}"
            for one in answer["violations"]
            if one["impact"] in SERIOUS
        ]

    def sizes(self) -> list[str]:
        return [
            *(f"small target: {one}" for one in self.page.evaluate(SMALL_TARGETS, LEAST_TARGET_PX)),
            *self.sideways(),
        ]

    def sideways(self) -> list[str]:
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return [f"the page is {wide} px too wide"] if wide > 0 else []

    def slow_down(self, *, cpu: int = 4) -> None:
        """Slow 4G and a slow processor, as a cheap phone at a campsite."""
        session = self.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", SLOW_4G)
        session.send("Emulation.setCPUThrottlingRate", {"rate": cpu})

    def close(self) -> None:
        self.context.close()


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u00a0", " ")).strip()


def loose(words: str | re.Pattern[str]) -> str | re.Pattern[str]:
    """A no-break space is a space."""
    return re.compile(re.escape(words).replace(r"\ ", r"\s+")) if isinstance(words, str) else words


Opened = Callable[..., Phone]
