"""One session: its timeline, its money, and what staff can do to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_safe

from devices.relays import commands
from hygate import clock
from hygate.roles import Perm, View, guarded, may, staff_only
from sessions_app import extending, metering, services
from sessions_app.dashboard import frame, live, looks, power_chart, power_readings, problems, timeline
from sessions_app.dashboard.forms import ReasonForm
from sessions_app.dashboard.looks import MONEY_TONES
from sessions_app.guest import power
from sessions_app.models import DeviceSession, Payment
from sessions_app.moves import POWERED
from sessions_app.states import ACTIVE, PaymentStatus, Purpose, State

HERE = "sessions"


NOTHING_DONE = "Nothing was done: it was over already or has changed meanwhile."
TOO_LONG = "Nothing was done: the session has changed meanwhile, or is as long as it may get."


class MinutesForm(ReasonForm):
    """``seen_s`` is how long the session was when the form was opened: it is good for once."""

    minutes = forms.IntegerField(min_value=1, max_value=services.MOST_FREE_MINUTES, initial=5)
    seen_s = forms.IntegerField(widget=forms.HiddenInput)
    field_order = ("minutes", "reason", "seen_s")


@dataclass(frozen=True)
class Action:
    """What staff can do to a session: who may, when, in which words, and the service that does it."""

    key: str
    perm: Perm
    title: str
    icon: str
    text: str
    states: tuple[State, ...]
    service: Callable[..., Any]
    said: str
    danger: bool = False
    refusal: str = NOTHING_DONE
    needs_waiting: bool = False
    """Whether a command of the device has to wait for its next round, or there is nothing to do."""
    form: Callable[[dict[str, str] | None, DeviceSession], ReasonForm] = lambda data, _session: ReasonForm(data)

    def when(self, session: DeviceSession) -> bool:
        return session.state in self.states and (not self.needs_waiting or session.command_waits)  # type: ignore[attr-defined]


ACTIONS = (
    Action(
        "mark-failed",
        "administrator",
        "Mark failed",
        "circle-x",
        "For a machine that did not do what was paid for, although its relay was on: power goes off and the whole price"
        " is paid back.",
        (*services.BEFORE_POWER, State.RUNNING, State.PAUSED),
        services.mark_failed,
        "The session is marked as failed; the whole price goes back.",
        danger=True,
    ),
    Action(
        "force-end",
        "administrator",
        "Force end",
        "octagon-x",
        "The session is closed as cancelled even where its relay does not answer; OFF is asked for until it is read"
        " back, and the minutes that were not delivered are paid back.",
        ACTIVE,
        services.force_end,
        "The session is ended.",
        danger=True,
    ),
    Action(
        "retry",
        "staff",
        "Retry activation",
        "rotate-ccw",
        "The relay is asked to switch on once more, at once.",
        POWERED,
        services.retry_activation,
        "The relay is asked again.",
        needs_waiting=True,
    ),
    Action(
        "minutes",
        "staff",
        "Add minutes",
        "plus",
        "The session ends later, free of charge: for a guest whose machine lost time. The relay's own timer is armed"
        " anew. Minutes that were given are the last to be used, so a guest who stops early gets the same back.",
        (State.RUNNING,),
        services.add_minutes,
        "The minutes are added.",
        refusal=TOO_LONG,
        form=lambda data, session: MinutesForm(data, initial={"seen_s": session.duration_s}),
    ),
    Action(
        "start",
        "staff",
        "Start now",
        "power",
        "The rest of the grace period is left out: the relay is switched on now.",
        (State.GRACE,),
        services.start_now_by_staff,
        "The session starts.",
    ),
    Action(
        "stop",
        "staff",
        "Stop",
        "circle-stop",
        "The relay is switched off now and the minutes that were not delivered are paid back.",
        (*services.BEFORE_POWER, State.RUNNING, State.PAUSED),
        services.stop_by_staff,
        "The session is being stopped.",
        danger=True,
    ),
)


@require_safe
@staff_only
def session(request: HttpRequest, pk: int) -> HttpResponse:
    return frame.page(request, "session.html", _whole(request, pk), here=HERE)


@require_safe
@staff_only
def session_live(request: HttpRequest, pk: int) -> HttpResponse:
    return live.answer(request, "_session.html", _whole(request, pk))


def _whole(request: HttpRequest, pk: int) -> dict[str, Any]:
    """``power`` is drawn only when a page asks for it: most looks find nothing new."""
    found = _sessions().select_related("device__location", "plan").defer("device__account", "plan__device")
    one = get_object_or_404(found, pk=pk)
    orders = list(one.payments.prefetch_related("refunds").defer("checkout_params").order_by("created_at"))
    currency = orders[0].currency if orders else one.device.location.currency
    now = clock.now()
    look, steps = looks.of_session(one, now), timeline.of(one, currency)
    reports = [problems.summary(report) for report in one.problems.defer("evidence")]
    actions = [act for act in ACTIONS if act.when(one) and may(request.user, act.perm)]
    used, bought_s = _used(one), _bought_s(one, orders)
    shown = [told for _, *told in reports], [(o.status, o.captured_minor, o.refunded_minor) for o in orders]
    return {
        "session": one,
        "look": look,
        "steps": steps,
        "orders": [(order, MONEY_TONES[PaymentStatus(order.status)]) for order in orders],
        "currency": currency,
        "zone": one.device.location.timezone,
        "token_end": one.token[-6:],
        "bought_s": bought_s,
        "given_s": one.duration_s - bought_s,
        "used": used,
        "power": partial(power_chart.told, one, used, now),
        "actions": actions,
        "reports": reports,
        "now": now,
        "mark": frame.mark([look, steps, actions, used, power_readings.newest(one, now), *shown]),
    }


def _sessions() -> QuerySet[DeviceSession]:
    """With ``command_waits``, which the actions ask for."""
    waiting = commands.for_later(clock.now()).filter(device=OuterRef("device"))
    return DeviceSession.objects.annotate(command_waits=Exists(waiting))


def _bought_s(session: DeviceSession, orders: list[Payment]) -> int:
    """What was paid for, without the minutes that staff have added free of charge."""
    start_s = sum(order.duration_s for order in orders if order.purpose == Purpose.START)
    return min(session.duration_s, start_s + extending.seconds_added(orders))


def _used(session: DeviceSession) -> str:
    """Energy by the device's own counter: so far while it runs, then in all; empty where nothing is measured."""
    used_wh = session.energy_wh
    if used_wh is None and session.state in POWERED:
        used_wh = metering.used_wh(session.energy_from_wh, session.device.energy_wh)
    return "" if used_wh is None else power.kwh(used_wh)


def act(action: Action) -> View:
    """The view of one action: asks for a reason, then calls the service. A GET changes nothing."""

    def view(request: HttpRequest, pk: int) -> HttpResponse:
        one = get_object_or_404(_sessions().select_related("device"), pk=pk)
        back = reverse("dashboard:session", args=[pk])
        if not action.when(one):
            return frame.refused(request, back, f"{one.device} was over already or has moved on; nothing was done.")
        form = action.form(request.POST or None, one)
        if form.is_valid():
            if not action.service(one, request.user, **form.cleaned_data):
                return frame.refused(request, back, action.refusal)
            return frame.done(request, back, action.said)
        title = f"{action.title}: {one.device}"
        return frame.dialog(
            request,
            form,
            title=title,
            submit=action.title,
            back=back,
            here=HERE,
            text=action.text,
            danger=action.danger,
        )

    return guarded(action.perm, view)
