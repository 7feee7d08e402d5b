"""*My sessions*: what this phone bought or opened lately, so that a receipt is found when the label sells again."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from hygate import clock
from sessions_app.guest import cookie, words
from sessions_app.guest.shapes import Other
from sessions_app.guest.views import private
from sessions_app.guest.visit import hashed
from sessions_app.models import DeviceSession
from sessions_app.states import LIVE, State


@require_safe
def mine(request: HttpRequest) -> HttpResponse:
    """Only what the phone's own links open anyway; without any, the page says so."""
    links = {hashed(token): token for token in cookie.tokens(request)}
    found = DeviceSession.objects.filter(token_hash__in=links).select_related("device__location").order_by("-pk")
    rows = [_row(session, links[session.token_hash]) for session in found]
    return private(render(request, "guest/mine.html", {"rows": rows, "days": cookie.KEPT_FOR_S // 86400}))


def _row(session: DeviceSession, token: str) -> Other:
    word, icon = _how_it_is(session)
    when = words.at(session.started_at or session.created_at, session.device.location.timezone, clock.now())
    bought = words.programme(session.plan_name, session.duration_s)
    return Other(session.device.name, f"{word} · {when} · {bought}", icon, f"/session/{token}/")


def _how_it_is(session: DeviceSession) -> tuple[str, str]:
    if session.state in LIVE:
        return _("Not over yet"), "clock"
    if session.started_at is None:
        return _("Ended"), "cut"
    is_whole = session.state == State.COMPLETED and not session.reason
    return (_("Finished"), "done") if is_whole else (_("Stopped early"), "cut")
