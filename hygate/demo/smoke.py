"""One purchase on the running demo, as a guest makes it, held against both ledgers and the audit log."""

from __future__ import annotations

import time
from typing import Any

import httpx
from django.conf import settings
from django.db.utils import DatabaseError

from devices.models import DeviceCode, UsagePlan
from hygate.demo.guest import Guest, Unexpected
from hygate.demo.seed import CODE, SHORT_S
from hygate.demo.supervisor import Say
from hygate.demo.verdict import Evidence, Sale, judge
from hygate.models import AuditEvent
from hygate.simulators.shelly.demo import DEMO_ACCOUNT
from hygate.verifying import verify
from sessions_app.models import DeviceSession, Payment
from sessions_app.states import LIVE, TERMINAL, State

LOOK_EVERY_S = 0.2
OVER_WITHIN_S = 120.0
LEDGER_SETTLES_S = 15.0
OVER_ON_PAGE = ("completed", "stopped", "interrupted", "start_failed", "expired", "cancelled")


class Refused(Exception):
    """The purchase could not be made, or something about it is wrong; the text says what."""


def smoke(say: Say) -> None:
    """Raises ``Refused`` unless money, relay, audit and page agree."""
    plan = _short_plan()
    since = time.time()
    with httpx.Client(timeout=20, follow_redirects=False) as client:
        guest = Guest(client)
        try:
            _pay(guest, plan)
            said = _watch(guest, say)
        except Unexpected as error:
            raise Refused(str(error)) from error
        except httpx.HTTPError as error:
            raise Refused(f"{settings.BASE_URL} does not answer. Start it first: make demo") from error
        session = DeviceSession.objects.filter(device=plan.device, plan=plan).latest("created_at")
        _wait_for_money(session)
        seen = Evidence(
            shelly=_ledger(client, settings.SIM_SHELLY_PORT),
            stripe=_ledger(client, settings.SIM_STRIPE_PORT),
            audit=_audit(session),
            page=said,
        )
    _report(session, since, seen, say)


def _short_plan() -> UsagePlan:
    try:
        label = DeviceCode.objects.select_related("device").filter(code=CODE).first()
        plan = UsagePlan.objects.filter(device=label.device, duration_s=SHORT_S).first() if label else None
    except DatabaseError as error:
        raise Refused("The demo has no data yet. Start it first: make demo") from error
    if plan is None or label is None:
        raise Refused(f"The demo has no plan of {SHORT_S} s on {CODE}. Start it first: make demo")
    busy = DeviceSession.objects.filter(device=label.device, state__in=LIVE).first()
    if busy is not None:
        raise Refused(f"{label.device.name} is in use ({busy.state}). Try again when that session is over.")
    return plan


def _pay(guest: Guest, plan: UsagePlan) -> None:
    guest.open(f"{settings.BASE_URL}/d/{CODE}/")
    sale = guest.form(has="plan")
    if sale is None or str(plan.pk) not in [*sale.choices.get("plan", []), sale.fields.get("plan")]:
        raise Unexpected(f"{CODE} cannot be bought now: its page says {guest.headline!r} ({guest.state}).")
    guest.submit(sale, plan=str(plan.pk))
    checkout = guest.form(action_ends="/pay")
    if checkout is None or not guest.url.startswith(settings.STRIPE_API_BASE):
        raise Unexpected(f"Buying led to {guest.headline!r} ({guest.state}) instead of the payment page.")
    guest.submit(checkout)
    if "/session/" not in guest.url:
        raise Unexpected("Paying did not lead to the session's page.")


def _watch(guest: Guest, say: Say) -> list[tuple[float, str]]:
    """When the session's page first said what, until it is over."""
    said: list[tuple[float, str]] = []
    deadline = time.monotonic() + OVER_WITHIN_S
    while time.monotonic() < deadline:
        # the page is as old as the request for it
        asked = time.time()
        guest.open(guest.url)
        if not said or said[-1][1] != guest.state:
            said.append((asked, guest.state))
            say(f"The page says: {guest.headline} ({guest.state})")
        if guest.state in OVER_ON_PAGE:
            return said
        time.sleep(LOOK_EVERY_S)
    raise Unexpected(f"The session is not over after {OVER_WITHIN_S:.0f} s: its page says {guest.headline!r}.")


def _wait_for_money(session: DeviceSession) -> None:
    deadline = time.monotonic() + LEDGER_SETTLES_S
    while time.monotonic() < deadline:
        session.refresh_from_db()
        if session.state in TERMINAL and Payment.objects.get(session=session).captured_at:
            return
        time.sleep(LOOK_EVERY_S)


def _ledger(client: httpx.Client, port: int) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = client.get(f"http://127.0.0.1:{port}/_ctl/ledger").json()
    return entries


def _audit(session: DeviceSession) -> list[tuple[float, str]]:
    """The session's events, and those of its device's commands meanwhile."""
    events = AuditEvent.objects.filter(session=session.pk) | AuditEvent.objects.filter(
        device=session.device_id, at__gte=session.created_at, session=None
    )
    return [(event.at.timestamp(), event.kind) for event in events.order_by("at", "id")]


def _report(session: DeviceSession, since: float, seen: Evidence, say: Say) -> None:
    if session.ends_at is None or session.state != State.COMPLETED:
        raise Refused(f"The session ended as {session.state} ({session.reason or 'no reason given'}).")
    payment = Payment.objects.get(session=session)
    sale = Sale(
        account=DEMO_ACCOUNT,
        shelly_id=session.device.shelly_id,
        channel=session.device.channel,
        intent_id=payment.intent_id or "",
        price_minor=payment.amount_minor,
        currency=payment.currency,
        since=since,
        ends_at=session.ends_at.timestamp(),
    )
    verdict = judge(sale, seen)
    say("\nSeconds before and after the promised end:")
    for at, what in verdict.timeline:
        say(f"  {at - sale.ends_at:+8.2f}  {what}")
    if verdict.complaints:
        raise Refused("\n".join(verdict.complaints))
    chain = verify()
    if chain.fault is not None:
        raise Refused(f"The audit log was touched: {chain.fault.says}")
    say(f"\nMoney, relay, page and audit agree. {chain.sealed} audit rows stand as they were sealed.")
