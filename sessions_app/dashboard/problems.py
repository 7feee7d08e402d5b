"""What guests reported: the list, one report with what its relay did, and what staff says to it."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from hygate.models import User
from hygate.roles import staff_only
from sessions_app.dashboard import frame
from sessions_app.dashboard.forms import PlainForm
from sessions_app.models import ProblemReport
from sessions_app.problems import services
from sessions_app.problems.models import Cause

HERE = "sessions"
FILTERS: dict[str, tuple[str, Q]] = {
    "open": ("Open", Q(closed_at=None, answered_at=None)),
    "answered": ("Answered", Q(closed_at=None, answered_at__isnull=False)),
    "closed": ("Closed", Q(closed_at__isnull=False)),
    "": ("All", Q()),
}


class AnswerForm(PlainForm):
    answer = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 5, "autofocus": True}),
        help_text="The guest reads it under the session's link, with your first name.",
        error_messages={"required": "Write what the guest is to read."},
    )


def look(one: ProblemReport) -> tuple[str, str]:
    """Tone and word."""
    if one.closed_at is not None:
        return "idle", "Closed"
    if one.answered_at is not None:
        return "ok", "Answered"
    return ("wait", "Seen") if one.seen_at is not None else ("hold", "New")


def summary(one: ProblemReport) -> tuple[ProblemReport, str, str, str]:
    """A report for a list: the row, its cause in words, tone and state."""
    return one, Cause(one.cause).label, *look(one)


@require_safe
@staff_only
def problems(request: HttpRequest) -> HttpResponse:
    state = request.GET.get("state", "")
    rows = ProblemReport.objects.select_related("session", "device__location").defer("evidence", "session__token")
    shown = frame.pages(request, rows.filter(FILTERS.get(state, FILTERS[""])[1]))
    context = {
        "shown": shown,
        "rows": [summary(one) for one in shown],
        "chips": [(f"state={key}" if key else "", title, key == state) for key, (title, _) in FILTERS.items()],
        "state": state,
        "more": f"state={state}" if state else "",
    }
    return frame.page(request, "problems.html", context, here=HERE)


@require_safe
@staff_only
def problem(request: HttpRequest, pk: int) -> HttpResponse:
    rows = ProblemReport.objects.select_related("session", "device__location", "answered_by").defer("session__token")
    one = get_object_or_404(rows, pk=pk)
    _, cause, tone, word = summary(one)
    context: dict[str, Any] = {
        "problem": one,
        "cause": cause,
        "tone": tone,
        "word": word,
        "zone": one.device.location.timezone if one.device else "UTC",
        "language": _language(one),
        "evidence": [{**line, "at": parse_datetime(str(line.get("at", "")))} for line in one.evidence],
    }
    return frame.page(request, "problem.html", context, here=HERE)


@require_POST
@staff_only
def seen(request: HttpRequest, pk: int) -> HttpResponse:
    one, user = get_object_or_404(ProblemReport, pk=pk), cast(User, request.user)
    if services.see(one, user):
        return frame.done(request, _url(pk), "The guest's page says that somebody has seen it.")
    return frame.refused(request, _url(pk), "Somebody was quicker; nothing was done.")


@staff_only
def answer(request: HttpRequest, pk: int) -> HttpResponse:
    one, user = get_object_or_404(ProblemReport, pk=pk), cast(User, request.user)
    if one.closed_at is not None:
        return frame.refused(request, _url(pk), "The report is closed; nothing was done.")
    form = AnswerForm(request.POST or None, initial={"answer": one.answer})
    if form.is_valid():
        if services.answer(one, user, form.cleaned_data["answer"]):
            return frame.done(request, _url(pk), "Answered. The guest reads it under the session's link.")
        return frame.refused(request, _url(pk), "The report is closed; nothing was done.")
    title = f"Answer {one.reference}: {Cause(one.cause).label.lower()}"
    return frame.dialog(request, form, title=title, submit="Answer", back=_url(pk), here=HERE, text=_promise(one))


def _promise(one: ProblemReport) -> str:
    if one.session_id is None:
        return "Nobody left a link with this report: an answer is only kept here."
    return "" if one.language == "en" else f"The guest reads {_language(one)}."


def _language(one: ProblemReport) -> str:
    """By its name; one that is not spoken any more is read in English."""
    return str(dict(settings.LANGUAGES).get(one.language, "English"))


@require_POST
@staff_only
def close(request: HttpRequest, pk: int) -> HttpResponse:
    one, user = get_object_or_404(ProblemReport, pk=pk), cast(User, request.user)
    if services.close(one, user):
        return frame.done(request, _url(pk), "Closed.")
    return frame.refused(request, _url(pk), "It was closed already; nothing was done.")


def _url(pk: int) -> str:
    return reverse("dashboard:problem", args=[pk])
