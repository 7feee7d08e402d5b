"""Sessions and their payments: the lists, one session with its timeline, and what staff can do to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from hygate import clock
from hygate.roles import Perm, guarded, may, staff_only
from sessions_app import services
from sessions_app.dashboard import frame, looks, timeline
from sessions_app.dashboard.devices import start_order
from sessions_app.dashboard.forms import ReasonForm
from sessions_app.dashboard.looks import MONEY_TONES
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.moves import POWERED
from sessions_app.states import ACTIVE, PaymentStatus, RefundStatus, State

HERE = "sessions"
FILTERS: dict[str, tuple[str, Q]] = {
    "": ("All", Q()),
    "active": ("Active", Q(state__in=ACTIVE)),
    "held": ("Paying", Q(state=State.HELD)),
    "completed": ("Completed", Q(state=State.COMPLETED)),
    "cancelled": ("Cancelled", Q(state=State.CANCELLED)),
}


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

    def when(self, session: DeviceSession) -> bool:
        return session.state in self.states


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
def sessions(request: HttpRequest) -> HttpResponse:
    state, find = request.GET.get("state", ""), request.GET.get("find", "").strip()[:60]
    rows = DeviceSession.objects.select_related("device__location").prefetch_related("payments").defer("token")
    rows = _found(rows.filter(FILTERS.get(state, FILTERS[""])[1]), find)
    shown, now = frame.pages(request, rows), clock.now()
    context = {
        "shown": shown,
        "rows": [(row, looks.of_session(row, now), start_order(row)) for row in shown],
        "chips": [(_query(state=key, find=find), title, key == state) for key, (title, _) in FILTERS.items()],
        "find": find,
        "state": state,
        "filtered": bool(state or find),
        "more": _query(state=state, find=find),
    }
    return frame.page(request, "sessions.html", context, here=HERE)


def _found(rows: QuerySet[DeviceSession], find: str) -> QuerySet[DeviceSession]:
    if not find:
        return rows
    where = Q(reference__icontains=find) | Q(device__name__icontains=find) | Q(device__codes__code__iexact=find)
    return rows.filter(where | Q(payments__intent_id=find)).distinct()


def _query(**values: str) -> str:
    return urlencode({name: value for name, value in values.items() if value})


@require_safe
@staff_only
def session(request: HttpRequest, pk: int) -> HttpResponse:
    return frame.page(request, "session.html", _whole(request, pk), here=HERE)


@require_safe
@staff_only
def session_live(request: HttpRequest, pk: int) -> HttpResponse:
    context = _whole(request, pk)
    if request.GET.get("seen") == context["mark"]:
        return HttpResponse(status=204)
    return render(request, "dashboard/_session.html", context)


def _whole(request: HttpRequest, pk: int) -> dict[str, Any]:
    found = DeviceSession.objects.select_related("device__location", "plan").defer("device__account", "plan__device")
    one = get_object_or_404(found, pk=pk)
    orders = list(one.payments.prefetch_related("refunds").defer("checkout_params").order_by("created_at"))
    currency = orders[0].currency if orders else one.device.location.currency
    now = clock.now()
    look, steps = looks.of_session(one, now), timeline.of(one, currency)
    actions = [act for act in ACTIONS if act.when(one) and may(request.user, act.perm)]
    return {
        "session": one,
        "look": look,
        "steps": steps,
        "orders": [(order, MONEY_TONES[PaymentStatus(order.status)]) for order in orders],
        "currency": currency,
        "zone": one.device.location.timezone,
        "token_end": one.token[-6:],
        "actions": actions,
        "now": now,
        "mark": frame.mark([look, steps, actions, [(o.status, o.captured_minor, o.refunded_minor) for o in orders]]),
    }


def act(action: Action) -> Callable[..., HttpResponse]:
    """The view of one action: asks for a reason, then calls the service. A GET changes nothing."""

    def view(request: HttpRequest, pk: int) -> HttpResponse:
        one = get_object_or_404(DeviceSession.objects.select_related("device"), pk=pk)
        back = reverse("dashboard:session", args=[pk])
        if not action.when(one):
            return frame.refused(request, back, f"{one.device} was over already or has moved on; nothing was done.")
        form = ReasonForm(request.POST or None)
        if form.is_valid():
            did = action.service(one, request.user, form.cleaned_data["reason"])
            if did is False:
                return frame.refused(
                    request, back, "Nothing was done: it was over already, or nothing is waiting to be sent."
                )
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


@require_safe
@staff_only
def payments(request: HttpRequest) -> HttpResponse:
    status = request.GET.get("status", "")
    rows = Payment.objects.select_related("session__device__location").defer("checkout_params", "session__token")
    if status in PaymentStatus.values:
        rows = rows.filter(status=status)
    owed = Refund.objects.exclude(status=RefundStatus.SUCCEEDED).values("payment__currency", "status")
    shown = frame.pages(request, rows)
    context = {
        "shown": shown,
        "rows": [(row, MONEY_TONES[PaymentStatus(row.status)]) for row in shown],
        "chips": [("", "All", not status)]
        + [(_query(status=value), label, value == status) for value, label in PaymentStatus.choices],
        "owed": list(owed.annotate(sum=Sum("amount_minor")).order_by("payment__currency", "status")),
        "more": _query(status=status),
        "filtered": bool(status),
    }
    return frame.page(request, "payments.html", context, here="payments")
