"""Members of staff at the dashboard, over real HTTP: log in, open a form, send it, as often as they like."""

from __future__ import annotations

import itertools
from typing import Any

from hygate.demo.guest import Form, Guest, Unexpected
from tests import loopback
from tests.faults.row import Row

PASSWORD = "a long enough pass phrase"
_numbers = itertools.count(1)


class Staff:
    """One person with a browser of their own. ``role`` is ``administrator`` or ``operator``."""

    def __init__(self, row: Row, role: str = "administrator") -> None:
        from hygate.models import User

        self._base = row.stack.base_url
        email = f"{row.scenario.id.lower()}-{next(_numbers)}@example.com"
        User.objects.create_user(email, PASSWORD, role=role)
        self.client = loopback.client(timeout=20, follow_redirects=False)
        row.after.append(self.client.close)
        self.browser = Guest(self.client)
        self._log_in(email)

    def _log_in(self, email: str) -> None:
        self.browser.open(f"{self._base}/account/login/")
        form = self.browser.form(has="password")
        if form is None:
            raise Unexpected(f"The login page has no form: {self.browser.headline!r}")
        self.browser.submit(form, login=email, password=PASSWORD)
        if "/login/" in self.browser.url:
            raise Unexpected(f"The login was refused: {self.browser.headline!r}")

    def form(self, path: str, has: str) -> Form:
        """The form of a dashboard page."""
        self.browser.open(self._base + path)
        form = self.browser.form(has=has)
        if form is None:
            raise Unexpected(f"{path} has no form with {has!r}: {self.browser.headline!r}")
        return form

    def send(self, path: str, form: Form, **chosen: Any) -> int:
        """Post the form to its page; answers the status. Any number of threads may send it at once."""
        return self.client.post(self._base + path, data={**form.fields, **chosen}).status_code
