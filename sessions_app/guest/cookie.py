"""The phone remembers the links of its own sessions, so that the label on the machine leads back to them.

A convenience and never a permission: whoever has the link needs no cookie, and the cookie opens only what its links
open. Signed, encrypted, out of reach of scripts.
"""

from __future__ import annotations

import json

from django.conf import settings
from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse

from hygate import secrets
from sessions_app.guest.visit import hashed

NAME = "hygate_sessions"
SALT = "hygate.guest.sessions"
AT_MOST = 20
KEPT_FOR_S = 90 * 86400


def tokens(request: HttpRequest) -> list[str]:
    """The links that this phone remembers, newest first; nothing when the cookie is missing, forged or unreadable."""
    try:
        kept = json.loads(secrets.decrypt(request.get_signed_cookie(NAME, default="", salt=SALT) or ""))
    except (BadSignature, secrets.SecretUnreadable, ValueError):
        return []
    return [token for token in kept if isinstance(token, str)][:AT_MOST]


def remember(request: HttpRequest, response: HttpResponse, token: str) -> HttpResponse:
    kept = [token, *(other for other in tokens(request) if other != token)][:AT_MOST]
    response.set_signed_cookie(
        NAME,
        secrets.encrypt(json.dumps(kept)),
        salt=SALT,
        max_age=KEPT_FOR_S,
        httponly=True,
        samesite="Lax",
        secure=settings.SECURE,
    )
    return response


def own_link(request: HttpRequest, link_hash: str | None) -> str | None:
    """The token that this phone remembers of the session with ``link_hash``: the one that has a device now."""
    if link_hash is None:
        return None
    return next((token for token in tokens(request) if hashed(token) == link_hash), None)
