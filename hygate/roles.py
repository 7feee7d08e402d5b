"""Who may open what: a view says it once, and its button, its menu entry and its 403 all read the same attribute."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from hygate import mishaps
from hygate.models import User

Perm = Literal["staff", "administrator"]
View = Callable[..., HttpResponseBase]


def may(user: Any, perm: Perm) -> bool:
    """Whether ``user`` may open a view of this ``perm``: every member of staff, or administrators only."""
    return isinstance(user, User) and user.is_active and (perm == "staff" or user.is_administrator)


def staff_only(view: View) -> View:
    return guarded("staff", view)


def administrator_only(view: View) -> View:
    return guarded("administrator", view)


def guarded(perm: Perm, view: View) -> View:
    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return to_login(request)
        if not may(request.user, perm):
            told = {"reference": mishaps.reference(request, 403)}
            return mishaps.marked(render(request, "dashboard/forbidden.html", told, status=403), told["reference"])
        return view(request, *args, **kwargs)

    inner.perm = perm  # type: ignore[attr-defined]
    return inner


def to_login(request: HttpRequest) -> HttpResponse:
    """The login page; a request made by htmx is answered with a header, or the page would land inside a tile."""
    if request.headers.get("HX-Request") != "true":
        return redirect_to_login(request.get_full_path())
    shown = request.headers.get("HX-Current-URL", "")
    back = shown[shown.find("/", 8) :] if shown.startswith(("http://", "https://")) else "/dashboard/"
    target = redirect_to_login(back)["Location"]
    return HttpResponse(status=204, headers={"HX-Redirect": target})
