"""The pages of what cannot be answered: never a trace, always a reference that stands in the log as well, a way back.

Guests and staff get pages of their own; by the address, for nobody need be logged in to go wrong.
"""

from __future__ import annotations

import secrets
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
LENGTH = 8
STAFFS = ("/dashboard/", "/account/")
log = structlog.get_logger(__name__)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(request, 403, exception)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(request, 404, exception)


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that is not ours, or not any more: nothing of it was done. ``reason`` is Django's, for the log."""
    return _page(request, 403, reason, template="403_csrf.html")


def failed(request: HttpRequest) -> HttpResponse:
    return _page(request, 500, None, asks_database=False)


def unavailable(request: HttpRequest, why: str) -> HttpResponse:
    """The database is away, or cannot be written."""
    return _page(request, 503, why, asks_database=False)


def _page(
    request: HttpRequest,
    status: int,
    why: Exception | str | None,
    template: str = "",
    *,
    asks_database: bool = True,
) -> HttpResponse:
    """Where the database may be what failed, the page is made without the request: context processors would ask it."""
    context: dict[str, Any] = {"reference": reference(request, status, why), "status": status}
    template = template or f"{status}.html"
    template = f"dashboard/{template}" if is_staffs(request) else template
    page = render(request if asks_database else None, template, context, status=status)
    return marked(page, context["reference"])


def marked(page: HttpResponse, made: str) -> HttpResponse:
    """For scripts that asked for a part of a page and cannot show a whole one."""
    page["X-Reference"] = made
    return page


def is_staffs(request: HttpRequest) -> bool:
    return request.path.startswith(STAFFS)


def reference(request: HttpRequest, status: int, why: Exception | str | None = None) -> str:
    """A new one, written into the log beside what was asked for; the trace of a 500 is the line that follows."""
    made = "E-" + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    said = {"why": why if isinstance(why, str) else type(why).__name__} if why else {}
    log.warning("page.refused", reference=made, status=status, method=request.method, path=request.path, **said)
    return made
