"""Brute force: every form that takes a password or a code is slowed, for the address and for the account at it.

Nothing is ever counted for an account alone where a password is asked for: whoever types wrong passwords elsewhere
locks out himself, never the administrator. A code is different: only somebody who has the password can type one, so
that wrong codes are counted for the account as well, from wherever they come.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.adapter import get_adapter
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from hygate import attempts
from hygate.attempts import Limit, Slot, TooOften

PER_ADDRESS = Limit(30, 300)
PER_ACCOUNT_AND_ADDRESS = Limit(5, 300)
CODES_PER_ACCOUNT = Limit(20, 3600)
View = Callable[..., HttpResponse]


def slowed(view: View, *, code: bool = False) -> View:
    """``view``, whose POSTs take a slot of each limit; a POST that led on (a redirect) gives its slots back."""

    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        slots = _slots(request, code=code)
        if isinstance(slots, TooOften):
            return too_often(request, slots)
        response = view(request, *args, **kwargs)
        if response.status_code == 302:
            for slot in slots:
                slot.give_back()
        return response

    return inner


def _slots(request: HttpRequest, *, code: bool) -> list[Slot] | TooOften:
    address, account = address_of(request), _account(request)
    wanted = [
        (f"login:{account}@{address}", PER_ACCOUNT_AND_ADDRESS),
        (f"login@{address}", PER_ADDRESS),
    ]
    if code:
        wanted.append((f"code:{account}", CODES_PER_ACCOUNT))
    taken: list[Slot] = []
    for scope, limit in wanted:
        slot = attempts.take(scope, limit)
        if isinstance(slot, TooOften):
            return slot
        taken.append(slot)
    return taken


def address_of(request: HttpRequest) -> str:
    """Where the request comes from, past as many proxies as we trust, as it is counted: an IPv6 address by its /64."""
    return attempts.network_of(str(get_adapter(request).get_client_ip(request)))


def _account(request: HttpRequest) -> str:
    """Whose password or code is tried: the person logged in, half logged in, or named in the form."""
    if request.user.is_authenticated:
        return str(request.user.pk)
    halfway = request.session.get("account_login")
    if isinstance(halfway, dict) and "login" not in request.POST:
        return f"halfway:{halfway.get('user_pk', '')}"
    return request.POST.get("login", "").strip().lower()


def too_often(request: HttpRequest, refusal: TooOften) -> HttpResponse:
    minutes = -(-refusal.wait_s // 60)
    response = render(request, "429.html", {"minutes": minutes}, status=429)
    response["Retry-After"] = str(refusal.wait_s)
    return response
