"""What Django's error pages and reports may show: they are read by more people than the secrets in them are for.

Django hides nothing at all while ``DEBUG`` is on, and a Shelly key is in some frame of every traceback of a relay call.
"""

from __future__ import annotations

import re
from pprint import pformat
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from hygate.logs import scrub

LONGEST = 2000


class SecretsFilter(SafeExceptionReporterFilter):
    """Hides by name in settings, cookies, what was posted and every frame, also while debugging; scrubs the rest."""

    hidden_settings = re.compile(
        r"API|AUTH|TOKEN|KEY|SECRET|PASS|SIGNATURE|COOKIE|SEALED|PARAMS|DATABASE_URL|BROKER_URL", re.IGNORECASE
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return {} if request is None else {name: self._shown(name, value) for name, value in request.POST.items()}

    def get_safe_cookies(self, request: HttpRequest) -> dict[str, Any]:
        return dict.fromkeys(request.COOKIES, self.cleansed_substitute)

    def get_traceback_frame_variables(self, request: Any, tb_frame: FrameType) -> Any:
        return [(name, self._shown(name, value)) for name, value in tb_frame.f_locals.items()]

    def _shown(self, name: str, value: Any) -> str:
        if self.hidden_settings.search(name):
            return str(self.cleansed_substitute)
        try:
            return scrub(pformat(value))[:LONGEST]
        except Exception as error:  # noqa: BLE001 - somebody's __repr__ must not break the page that tells of an error
            return f"<{type(error).__name__} while being shown>"


class Reporter(ExceptionReporter):
    """The page and the text, scrubbed as a whole: the error's own message is part of them."""

    def get_traceback_html(self) -> SafeString:
        return SafeString(scrub(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        return SafeString(scrub(super().get_traceback_text()))
