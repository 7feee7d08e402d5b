"""The guest's language: what the phone asks for, or what the guest chose. The addresses stay the same in every one.

Only guests are spoken to in their language; staff read English, whatever their browser says.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST

STAFF = ("/dashboard/", "/account/", "/api/")
KEPT_FOR_S = 365 * 86400


class GuestLanguage:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(STAFF):
            with translation.override(settings.LANGUAGE_CODE):
                return self.get_response(request)
        language = translation.get_language_from_request(request)
        with translation.override(language):
            response = self.get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Language", language)
            patch_vary_headers(response, ("Accept-Language", "Cookie"))
        return response


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Remember a language and go back to the page that offered it; one that we do not speak changes nothing."""
    response = HttpResponse(status=303)
    response["Location"] = _page(request.POST.get("next", ""))
    response["Cache-Control"] = "no-store"
    language = request.POST.get("language", "")
    if language in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=KEPT_FOR_S,
            httponly=True,
            samesite="Lax",
            secure=settings.SECURE,
        )
    return response


def _page(path: str) -> str:
    """``path`` when it is a page of this site and of a guest, else the front page: never another site."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or path.startswith(STAFF):
        return "/"
    try:
        resolve(path)
    except Resolver404:
        return "/"
    return path
