"""Every state that a guest's page can be in, made of rows: a name, how to get there, and what it says first."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.e2e.site import PLANS, Site

if TYPE_CHECKING:
    from devices.models import Device

Stage = Callable[[Site], str]
CAPTURED = {"status": "SUCCEEDED", "captured_minor": 360}
UNFUNDED = {"status": "PENDING", "authorized_at": None}
RELEASED = {"status": "VOIDED", "charge_minor": 0}
HOUR_S = 3600


@dataclass(frozen=True)
class State:
    """``stage`` makes it and answers its path; ``says`` is how its first sentence begins, in English."""

    name: str
    stage: Stage
    says: str


def ran(minutes: int, **more: Any) -> dict[str, Any]:
    """The clocks of a session whose relay has been on for so long."""
    from hygate import clock

    started = clock.now() - timedelta(minutes=minutes)
    return {"started_at": started, "ends_at": started + timedelta(hours=1), **more}


def ended(minutes: int, **more: Any) -> dict[str, Any]:
    from hygate import clock

    now = clock.now()
    return ran(minutes, off_requested_at=now, closed_at=now, delivered_s=60 * minutes, **more)


def soon(minutes: int) -> Any:
    from hygate import clock

    return clock.now() + timedelta(minutes=minutes)


def code_of(device: Device) -> str:
    return f"/d/{device.codes.get(retired_at=None).code}/"


# -- the label


def busy(site: Site) -> str:
    device = site.shown(output=True)
    site.staged("running", on=device, pay=CAPTURED, **ran(42))
    site.shown("Washer 2")
    return code_of(device)


def retired(site: Site) -> str:
    from devices.models import DeviceCode
    from hygate import clock

    code = f"OLD{secrets.token_hex(2).upper()}"
    DeviceCode.objects.create(device=site.shown(), code=code, retired_at=clock.now())
    return f"/d/{code}/"


def refund(kind: str, **more: Any) -> Stage:
    """A session that was cut short with money on its way back."""
    pay = {**CAPTURED, "charge_minor": 216, "refund_promised_minor": 144, **more}
    return lambda site: site.staged("completed", pay=pay, reason=kind, **ended(36))


def refund_failed(site: Site) -> str:
    """The bank refused the refund: it stays owed, and the page promises no more than is true."""
    from sessions_app.models import Payment, Refund

    pay = {**CAPTURED, "charge_minor": 216}
    session = site.staged_session("completed", pay=pay, reason="relay_off_prematurely", **ended(36))
    payment = Payment.objects.get(session=session)
    Refund.objects.create(payment=payment, amount_minor=144, reason="undelivered", status="failed")
    return f"/session/{session.token}/"


def extension_too_late(site: Site) -> str:
    """Extra minutes that were paid when the session was over: their money goes back whole."""
    from hygate import clock
    from sessions_app.models import Payment

    session = site.staged_session("completed", pay={**CAPTURED, "charge_minor": 360}, **ended(60))
    ref = f"{session.reference}-2"
    Payment.objects.create(
        session=session, purpose="extension", ref=ref, checkout_key=f"checkout:{ref}", checkout_params="{}",
        status="SUCCEEDED", amount_minor=180, currency="eur", duration_s=1800, plan_name="Extra, 30 min",
        authorized_at=clock.now(), captured_minor=180, captured_at=clock.now(), charge_minor=0,
        refund_promised_minor=180,
    )  # fmt: skip
    return f"/session/{session.token}/"


def more_time(site: Site) -> str:
    """Extra minutes were chosen and are not paid yet."""
    from sessions_app.models import Payment

    session = site.staged_session("running", pay=CAPTURED, extendable=True, max_total_s=4 * HOUR_S, **ran(24))
    ref = f"{session.reference}-2"
    Payment.objects.create(
        session=session, purpose="extension", ref=ref, checkout_key=f"checkout:{ref}", checkout_params="{}",
        checkout_url=f"{site.stripe_server.url}/c/pay/staged", status="PENDING", amount_minor=180, currency="eur",
        duration_s=1800, plan_name="Extra, 30 min",
    )  # fmt: skip
    return f"/session/{session.token}/"


def queued(site: Site, **more: Any) -> str:
    from hygate import clock
    from sessions_app.models import QueueEntry
    from sessions_app.selling import token_hash

    device = site.shown(output=True)
    site.staged("running", on=device, pay=CAPTURED, **ran(35))
    token = secrets.token_urlsafe(32)
    wanted = {"device": device, "token": token, "token_hash": token_hash(token), "joined_at": clock.now()}
    QueueEntry.objects.create(**wanted, **more)
    return f"/line/{token}/"


def left_the_line(site: Site) -> str:
    from hygate import clock
    from sessions_app.models import QueueEntry
    from sessions_app.selling import token_hash

    token = secrets.token_urlsafe(32)
    QueueEntry.objects.create(
        device=site.shown(), token=token, token_hash=token_hash(token), place="lapsed", offered_at=soon(-6),
        offer_ends_at=soon(-1), closed_at=clock.now(),
    )  # fmt: skip
    return f"/line/{token}/"


def your_turn(site: Site) -> str:
    from hygate import clock
    from sessions_app.models import QueueEntry
    from sessions_app.selling import token_hash

    token = secrets.token_urlsafe(32)
    QueueEntry.objects.create(
        device=site.shown(), token=token, token_hash=token_hash(token), place="offered", offered_at=clock.now(),
        offer_ends_at=soon(5),
    )  # fmt: skip
    return f"/line/{token}/"


def reported(site: Site, **answer: Any) -> str:
    from sessions_app.models import ProblemReport

    session = site.staged_session("completed", pay={**CAPTURED, "charge_minor": 360}, **ended(60))
    report = ProblemReport.objects.create(
        reference=f"P-{secrets.token_hex(3).upper()}", session=session, device=session.device, cause="machine", **answer
    )
    return f"/session/{session.token}/report/{report.reference}/"


LABELS = (
    State("scan", lambda site: code_of(site.shown()), "Washer 1"),
    State("scan-one-plan", lambda site: code_of(site.shown(plans=PLANS[1:2])), "Washer 1"),
    State("scan-busy", busy, "Nothing was charged."),
    State("scan-maintenance", lambda site: code_of(site.shown(maintenance_since=soon(0))), "Nothing was charged."),
    State("scan-offline", lambda site: code_of(site.shown(online=False)), "Nothing was charged."),
    State("scan-no-power", lambda site: code_of(site.shown(rated_w=9000)), "Nothing was charged."),
    State("scan-no-plans", lambda site: code_of(site.shown(plans=())), "Nothing was charged."),
    State("scan-blocked", lambda site: code_of(site.shown(blocked_since=soon(0))), "Nothing was charged."),
    State("scan-retired", retired, "This label was replaced"),
    State("scan-unknown", lambda _site: "/d/ZZZZZ/", "We do not know this code"),
    State("scan-odd-sticker", lambda site: f"{code_of(site.shown())}report/", "This sticker looks odd?"),
    State("link-unknown", lambda _site: f"/session/{'x' * 43}/", "We do not know this link"),
)
SESSIONS = (
    State("checking", lambda site: site.staged("held", pay=UNFUNDED), "You cannot be charged twice."),
    State(
        "letting-go",
        lambda site: site.staged("held", pay=UNFUNDED, reason="stopped_by_guest"),
        "Cancelled. You pay nothing.",
    ),
    State("grace", lambda site: site.staged("grace", grace_ends_at=soon(4)), "€3.60 is reserved, not charged."),
    State(
        "waiting-for-power",
        lambda site: site.staged("waiting_for_power", power_wait_ends_at=soon(30)),
        "€3.60 is reserved, not charged.",
    ),
    State("starting", lambda site: site.staged("starting"), "€3.60 is reserved, not charged."),
    State("running", lambda site: site.staged("running", pay=CAPTURED, **ran(24)), "€3.60 paid."),
    State(
        "running-measured",
        lambda site: site.staged(
            "running", pay=CAPTURED, on=site.shown(watts=1843, energy_wh=9120.0), energy_from_wh=8500.0, **ran(24)
        ),
        "€3.60 paid.",
    ),
    State(
        "out-of-reach",
        lambda site: site.staged("running", pay=CAPTURED, on=site.shown(online=False, seen_at=soon(-5)), **ran(24)),
        "You pay only for confirmed minutes",
    ),
    State(
        "bringing-back",
        lambda site: site.staged("running", pay=CAPTURED, paused_at=soon(-1), pause_ends_at=soon(2), **ran(24)),
        "Minutes without power cost nothing.",
    ),
    State(
        "paused",
        lambda site: site.staged("paused", pay=CAPTURED, paused_at=soon(-9), pause_ends_at=soon(21), **ran(37)),
        "Standing still costs nothing.",
    ),
    State(
        "stopping",
        lambda site: site.staged(
            "stopping", pay={**CAPTURED, "charge_minor": 360}, off_requested_at=soon(0), delivered_s=HOUR_S, **ran(60)
        ),
        "€3.60 paid.",
    ),
    State(
        "completed",
        lambda site: site.staged("completed", pay={**CAPTURED, "charge_minor": 360}, **ended(60)),
        "€3.60 paid for 60 min.",
    ),
    State("stopped-early", refund("stopped_by_guest"), "€1.44 is on its way back to you"),
    State("stopped-paid-back", refund("stopped_by_guest", refunded_minor=144), "€1.44 was paid back to you"),
    State(
        "stop-question",
        lambda site: site.staged("running", pay=CAPTURED, **ran(24)) + "stop/",
        "You get €2.1",
    ),
    State("report", lambda site: site.staged("running", pay=CAPTURED, **ran(24)) + "report/", "€3.60 paid."),
    State("report-sent", reported, "€3.60 paid for 60 min."),
    State(
        "receipt",
        lambda site: site.staged("completed", pay={**CAPTURED, "charge_minor": 360}, **ended(60)) + "receipt/",
        "You paid €3.60.",
    ),
    State(
        "extend",
        lambda site: (
            site.staged("running", pay=CAPTURED, extendable=True, max_total_s=4 * HOUR_S, **ran(24)) + "extend/"
        ),
        "€3.60 paid.",
    ),
    State(
        "running-extendable",
        lambda site: site.staged("running", pay=CAPTURED, extendable=True, max_total_s=4 * HOUR_S, **ran(24)),
        "€3.60 paid.",
    ),
    State("more-time-unpaid", more_time, "€3.60 paid."),
    State(
        "report-answered",
        lambda site: reported(site, seen_at=soon(-5), answered_at=soon(-1), answer="Please try the machine beside it."),
        "€3.60 paid for 60 min.",
    ),
    State(
        "no-payment-page",
        lambda site: site.staged("held", pay={**UNFUNDED, "checkout_url": ""}),
        "Nothing was charged",
    ),
    State("queued", queued, "Waiting costs nothing."),
    State("your-turn", your_turn, "Nothing is charged yet."),
    State("choosing", lambda site: f"{your_turn(site)}choose/", "Nothing is charged yet."),
    State("turn-lapsed", left_the_line, "Your time to choose ran out"),
)
ENDINGS = (
    State(
        "late-payment",
        lambda site: site.staged("cancelled", reason="hold_expired", pay=RELEASED, closed_at=soon(0)),
        "You were not charged",
    ),
    State(
        "payment-failed",
        lambda site: site.staged(
            "cancelled", reason="payment_failed", pay={"status": "FAILED", "authorized_at": None}, closed_at=soon(0)
        ),
        "You were not charged",
    ),
    State(
        "start-failed",
        lambda site: site.staged("cancelled", reason="start_failed", pay=RELEASED, closed_at=soon(0)),
        "You were not charged",
    ),
    State(
        "no-power",
        lambda site: site.staged("cancelled", reason="no_power", pay=RELEASED, closed_at=soon(0)),
        "You were not charged",
    ),
    State("interrupted", refund("relay_off_prematurely"), "€1.44 is on its way back to you"),
    State("refund-failed", refund_failed, "We still owe you €1.44"),
    State("extension-too-late", extension_too_late, "€1.80"),
    State("my-sessions", lambda _site: "/mine/", "My sessions"),
)
"""The last lists what the phone opened before."""
ALL = (*LABELS, *SESSIONS, *ENDINGS)
