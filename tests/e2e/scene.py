"""What a journey works with: the site, a browser, phones of its own, pictures."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Playwright, expect

from tests.e2e.desk import Desk
from tests.e2e.phone import Phone, Wrong
from tests.e2e.site import ADMIN, PASSWORD, Site, Thing, folder

PHONE = {"width": 390, "height": 844}
SMALL_PHONE = {"width": 320, "height": 568}
LAPTOP = {"width": 1280, "height": 800}
DESK = {"width": 1440, "height": 900}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
Scheme = Literal["light", "dark"]


class Scene:
    """``phone()`` opens a browser of its own; all of them are closed when the journey is over."""

    def __init__(self, site: Site, browser: Browser) -> None:
        self.site, self.browser = site, browser
        self._phones: list[Phone] = []

    def phone(
        self,
        *,
        language: str = "en-GB",
        scripts: bool = True,
        scheme: Scheme = "light",
        viewport: dict[str, int] | None = None,
        still: bool = False,
        slow: bool = False,
        **more: Any,
    ) -> Phone:
        size: Any = viewport or PHONE
        context = self.browser.new_context(
            viewport=size, locale=language, java_script_enabled=scripts, color_scheme=scheme,
            reduced_motion="reduce" if still else "no-preference", has_touch=size["width"] < 600, **more,
        )  # fmt: skip
        made = Phone(context, self.site.base_url)
        self._phones.append(made)
        if slow:
            made.slow_down(cpu=2)
        return made

    def desk(self, who: str = ADMIN, *, viewport: dict[str, int] | None = None) -> Desk:
        """A browser in which ``who`` has logged in to the dashboard."""
        made = self.stranger(viewport=viewport, remembers=self.site.logins.get(who))
        if who not in self.site.logins:
            made.login(who, PASSWORD)
            made.page.wait_for_url(f"{self.site.base_url}/dashboard/")
            self.site.logins[who] = made.context.storage_state()
        return made

    def stranger(self, base_url: str = "", *, viewport: dict[str, int] | None = None, remembers: Any = None) -> Desk:
        """A desk where nobody has logged in, before this site or another one."""
        size: Any = viewport or DESK
        context = self.browser.new_context(
            viewport=size, locale="en-GB", reduced_motion="reduce", storage_state=remembers
        )
        made = Desk(context, base_url or self.site.base_url)
        self._phones.append(made)
        return made

    # -- the usual way

    def choose(self, phone: Phone, thing: Thing, plan: str = "Everyday") -> None:
        """Scan, choose, and stand on the payment page."""
        phone.open(f"/d/{thing.code}/")
        phone.page.get_by_text(re.compile(rf"^{plan}")).click()
        phone.page.locator("#buy button.btn-main").click()
        phone.page.wait_for_url(f"{self.site.stripe_server.url}/**")

    def buy(self, phone: Phone, thing: Thing, plan: str = "Everyday") -> str:
        """Chosen and paid; answers the link. The page checks the payment by itself and shows the grace period."""
        self.choose(phone, thing, plan)
        phone.tap(re.compile("^Pay €"))
        phone.page.wait_for_url(f"{self.site.base_url}/session/**")
        phone.until("grace")
        return phone.url

    def run(self, phone: Phone, thing: Thing) -> str:
        """Bought, started at once, confirmed on."""
        link = self.buy(phone, thing)
        phone.tap("Start now")
        phone.until("running")
        return link

    # -- pictures

    def picture(self, phone: Phone, name: str) -> None:
        path = folder() / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        phone.page.screenshot(path=path, full_page=True, animations="disabled")

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise Wrong(otherwise)

    def close(self, *, failed_as: str = "") -> None:
        """Close every phone; of a journey that went wrong each open page is kept as a picture."""
        for number, phone in enumerate(self._phones, 1):
            if failed_as and not phone.page.is_closed():
                self.picture(phone, f"failed/{failed_as}-{number}")
            phone.close()
        self._phones.clear()


@contextmanager
def browser(playwright: Playwright) -> Iterator[Browser]:
    """The system's own Chromium."""
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    if found is None:
        raise SystemExit("The browser tests need Chromium (Debian: apt-get install chromium).")
    expect.set_options(timeout=15_000)
    started = playwright.chromium.launch(executable_path=Path(found), args=["--no-sandbox", "--disable-dev-shm-usage"])
    try:
        yield started
    finally:
        started.close()
