"""One device: its live relay, its plans, its label; the test pulse, and a new code for a label that was lost."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_safe

from devices.codes import rotate
from devices.models import Device, RelayCommand
from devices.relays import blocking, pulse
from devices.relays.models import OPEN
from hygate import clock
from hygate.roles import administrator_only, staff_only
from sessions_app import pulsing
from sessions_app.dashboard import frame, live, looks
from sessions_app.dashboard.forms import ReasonForm
from sessions_app.dashboard.session_list import start_order
from sessions_app.guest import words
from sessions_app.queue import line

HERE = "devices"


@require_safe
@staff_only
def device(request: HttpRequest, pk: int) -> HttpResponse:
    return frame.page(request, "device.html", _whole(pk), here=HERE)


@require_safe
@staff_only
def device_live(request: HttpRequest, pk: int) -> HttpResponse:
    return live.answer(request, "_device.html", _whole(pk))


def _whole(pk: int) -> dict[str, Any]:
    rows = Device.objects.select_related("location", "account").defer("account__auth_key", "account__found")
    one = get_object_or_404(rows.annotate(waiting=line.length_of("pk")), pk=pk)
    now = clock.now()
    recent = list(one.sessions.prefetch_related("payments")[:10])
    session = next((row for row in recent if row.is_live), None)
    command = RelayCommand.objects.filter(device=one, state__in=OPEN).first()
    codes = list(one.codes.all())
    current = next((code for code in codes if code.retired_at is None), None)
    pulsed = pulse.last(one.pk)
    context = {
        "device": one,
        "zone": one.location.timezone,
        "currency": one.location.currency,
        "tile": looks.of_device(one, session, command, now),
        "session": session,
        "blocked": blocking.why(one.blocked_reason) if one.blocked_since else None,
        "command": command,
        "code": current,
        "spelt": words.label(current.code) if current else "",
        "retired": [code for code in codes if code.retired_at],
        "guest_url": f"{settings.BASE_URL}/d/{current.code}/" if current else "",
        "plans": list(one.plans.all()),
        "pulse": pulse.told(pulsed) if pulsed else [],
        "pulse_runs": bool(command and command.wanted_by.startswith(pulse.OWNER)),
        "may_pulse": session is None and not pulse.why_not(one, command),
        "rows": [(row, looks.of_session(_of(row, one), now), start_order(row)) for row in recent],
    }
    return context | {"now": now, "mark": frame.mark(_seen(one, context))}


def _of(session: Any, device: Device) -> Any:
    session.device = device
    return session


def _seen(one: Device, context: dict[str, Any]) -> tuple[Any, ...]:
    """Everything on the page that can change by itself."""
    columns = ("name", "place", "online", "output", "watts", "seen_at", "must_be_off_since", "waiting", "active")
    more = ("maintenance_since", "maintenance_until", "maintenance_text", "blocked_since", "vanished_at", "rated_w")
    rows = [(row.pk, row.state, look, order and order.status) for row, look, order in context["rows"]]
    plans = [(plan.pk, plan.name, plan.price_minor, plan.active, plan.duration_s) for plan in context["plans"]]
    command = context["command"]
    parts = (context["tile"], command and (command.pk, command.state), context["pulse"], context["spelt"])
    return tuple(getattr(one, name) for name in (*columns, *more)), parts, rows, plans


@administrator_only
def test_pulse(request: HttpRequest, pk: int) -> HttpResponse:
    """Three seconds of power, to see at the machine that this relay is the right one."""
    one = get_object_or_404(Device.objects.select_related("location"), pk=pk)
    back = reverse("dashboard:device", args=[pk])
    if request.method == "POST":
        try:
            pulsing.begin(device=one, by=frame.who(request))
        except pulse.CannotPulse as refusal:
            return frame.refused(request, back, str(refusal))
        return frame.done(request, back, f"{one.name} goes on for {pulse.ON_FOR_S} seconds: watch it below.")
    text = (
        f"The relay goes on for {pulse.ON_FOR_S} seconds and off again. See that nobody works at the machine, and that"
        f" nothing in it may start."
    )
    return frame.dialog(
        request, None, title=f"Test pulse of {one.name}", submit="Switch on", back=back, here=HERE, text=text
    )


@administrator_only
def code_rotate(request: HttpRequest, pk: int) -> HttpResponse:
    """Before, nothing is changed: the labels that hang now go on selling until somebody says why they shall not."""
    one = get_object_or_404(Device, pk=pk)
    back = reverse("dashboard:device", args=[pk])
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        made = rotate(one, reason=form.cleaned_data["reason"], by=frame.who(request))
        said = f"{one.name} has the code {words.label(made.code)} now. Print its label and hang it up."
        return frame.done(request, back, said)
    text = "A new code is made. Labels with the old one say that they were replaced, and sell nothing any more."
    return frame.dialog(
        request, form, title=f"New code for {one.name}", submit="Make a new code", back=back, here=HERE, text=text
    )
