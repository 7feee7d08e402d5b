"""More minutes for a session that is running: what may be bought, when it joins, and what becomes of its money."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from devices.energy.models import Promise
from devices.energy.orders import PowerOrder
from devices.models import Device, RelayCommand, UsagePlan
from hygate import clock
from hygate.due.claims import claim
from hygate.due.registry import handler_for
from hygate.models import SiteSettings
from hygate.numbers import Numbers
from sessions_app import extending, gates, moves, services
from sessions_app.extending import Around, CannotExtend, No, Offer
from sessions_app.models import DeviceSession, Payment, QueueEntry
from sessions_app.payments.checkout import open_checkout
from sessions_app.payments.settling import settle
from sessions_app.power_events import on_power_order
from sessions_app.states import PaymentStatus, Purpose, Reason, State
from tests.powered import Powered
from tests.world import PLUG, World, kinds_of

NOW = clock.now()
NUMBERS = Numbers()


def a_session(**fields: Any) -> DeviceSession:
    """A row that was never saved: running, and half an hour from its end."""
    given = {
        "state": State.RUNNING, "duration_s": 3600, "extendable": True, "max_total_s": 7200, "device_id": 1,
        "started_at": NOW - timedelta(minutes=30), "ends_at": NOW + timedelta(minutes=30),
    }  # fmt: skip
    return DeviceSession(**{**given, **fields})


def a_plan(**fields: Any) -> UsagePlan:
    return UsagePlan(**{"device_id": 1, "extendable": True, "price_minor": 180, "duration_s": 1800, **fields})


# -- the rules


def test_a_running_session_can_be_extended() -> None:
    assert extending.refusal(a_session(), Around(), NOW, NUMBERS) is None
    assert extending.plan_refusal(a_session(), a_plan(), 50) is None


@pytest.mark.parametrize(
    ("session", "around", "why"),
    [
        ({"state": State.GRACE}, {}, No.NOT_RUNNING),
        ({"state": State.PAUSED}, {}, No.NOT_RUNNING),
        ({"state": State.STOPPING}, {}, No.NOT_RUNNING),
        ({"paused_at": NOW}, {}, No.NOT_RUNNING),
        ({"extendable": False}, {}, No.NOT_EXTENDABLE),
        ({}, {"pending": True}, No.PENDING),
        ({"ends_at": NOW + timedelta(seconds=29)}, {}, No.TOO_LATE),
        ({}, {"closed": True}, No.CLOSED),
        ({}, {"in_line": True}, No.IN_LINE),
        ({}, {"power_ok": False}, No.NO_POWER),
    ],
)
def test_each_thing_in_the_way_has_its_reason(session: dict[str, Any], around: dict[str, Any], why: No) -> None:
    assert extending.refusal(a_session(**session), Around(**around), NOW, NUMBERS) == why


def test_the_last_half_minute_is_too_late_to_pay_and_not_a_second_more() -> None:
    session = a_session(ends_at=NOW + timedelta(seconds=30))
    assert extending.refusal(session, Around(), NOW, NUMBERS) is None


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"device_id": 2}, No.NOT_EXTENDABLE),
        ({"active": False}, No.NOT_EXTENDABLE),
        ({"extendable": False}, No.NOT_EXTENDABLE),
        ({"price_minor": 49}, No.NOT_EXTENDABLE),
        ({"duration_s": 3600}, None),
        ({"duration_s": 3601}, No.LONGEST),
    ],
)
def test_a_plan_must_be_of_this_device_for_sale_and_fit(plan: dict[str, Any], why: No | None) -> None:
    assert extending.plan_refusal(a_session(), a_plan(**plan), 50) == why


def test_without_a_limit_a_session_lasts_as_long_as_the_longest_plan() -> None:
    session = a_session(max_total_s=None)
    assert extending.fits(session, 7 * 86400 - 3600)
    assert not extending.fits(session, 7 * 86400 - 3599)


# -- a world


@pytest.fixture
def site(world: World) -> World:
    """A plan of a minute that can be made five, and more of the same as extension."""
    UsagePlan.objects.filter(pk=world.plan.pk).update(duration_s=60, extendable=True, max_total_s=300)
    world.plan.refresh_from_db()
    return world


def running(world: World, plan: UsagePlan | None = None) -> DeviceSession:
    session = world.buy(plan=plan)
    world.tell(session)
    world.go(8)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return session


def ordered(world: World, session: DeviceSession, plan: UsagePlan | None = None) -> Payment:
    """The extension's order, its guest on the payment page."""
    payment = extending.order(session, plan or world.plan)
    open_checkout(payment)
    return payment


def extended(world: World, session: DeviceSession, plan: UsagePlan | None = None) -> Payment:
    """Ordered and paid; the money is seen now, and nothing has been sent yet."""
    payment = ordered(world, session, plan)
    world.at_checkout(payment, "pay")
    settle(payment.pk, by="page")
    payment.refresh_from_db()
    session.refresh_from_db()
    return payment


def offered(world: World, session: DeviceSession) -> Offer:
    """What the page would offer now."""
    fresh = DeviceSession.objects.select_related("device__location", "device__account").get(pk=session.pk)
    return extending.offer(fresh, world.now, gates.read(), orders(session))


def left_until_end(world: World, session: DeviceSession) -> float:
    session.refresh_from_db()
    assert session.ends_at is not None
    return (session.ends_at - world.now).total_seconds()


def timers(world: World) -> list[int]:
    return [entry["body"]["toggle_after"] for entry in world.switched() if entry["body"]["on"]]


def orders(session: DeviceSession) -> list[Payment]:
    return list(session.payments.order_by("id"))


# -- bought in time


def test_an_extension_runs_on_without_a_gap_and_both_orders_are_captured_whole(site: World) -> None:
    session = running(site)
    ends_at = session.ends_at
    payment = extended(site, session)
    assert payment.applied_at == site.now
    assert ends_at is not None
    assert (session.ends_at, session.duration_s) == (ends_at + timedelta(seconds=60), 120)
    site.go(130)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 120)
    assert site.relay() == [(True, "request"), (False, "request")]
    assert [kind for kind, _ in site.money()] == ["authorized", "captured", "authorized", "captured"]
    assert [(one.status, one.charge_minor) for one in orders(session)] == [(PaymentStatus.SUCCEEDED, 250)] * 2


def test_extension_rearms_relay_timer(site: World) -> None:
    session = running(site)
    extended(site, session)
    assert DeviceSession.objects.filter(pk=session.pk, timer_ends_at=None).exists()
    site.go(3)
    left_s = left_until_end(site, session)
    assert timers(site)[0] == 60 + site.settings.NUMBERS.timer_margin_s
    assert timers(site)[1] == pytest.approx(left_s + 3 + site.settings.NUMBERS.timer_margin_s, abs=2)
    assert session.timer_ends_at is not None and session.ends_at is not None
    assert session.timer_ends_at >= session.ends_at + timedelta(seconds=5)


def test_an_extension_is_captured_only_when_the_new_timer_is_read_back(site: World) -> None:
    session = running(site)
    site.fault(site.shelly_server, on="switch_on", do="drop", times=2)
    payment = extended(site, session)
    site.go(1)
    payment.refresh_from_db()
    assert (payment.status, payment.capture_wanted_at) == (PaymentStatus.AUTHORIZED, None)
    site.go(30)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.SUCCEEDED


def test_the_off_comes_at_the_new_end_and_not_at_the_old_one(site: World) -> None:
    session = running(site)
    extended(site, session)
    site.go(130)
    session.refresh_from_db()
    off = site.switched()[-1]
    assert session.ends_at is not None
    assert off["body"]["on"] is False
    assert 0 <= off["t"] - session.ends_at.timestamp() <= 1.0
    assert len([entry for entry in site.switched() if not entry["body"]["on"]]) == 1


def test_the_trail_names_the_extension(site: World) -> None:
    session = running(site)
    extended(site, session)
    told = kinds_of(session)
    assert told[told.index("extension_ordered") :][:4] == [
        "extension_ordered",
        "checkout_opened",
        "payment_authorized",
        "extended",
    ]


def test_a_session_may_be_extended_again_up_to_its_limit(site: World) -> None:
    session = running(site)
    for _ in range(4):
        extended(site, session)
        site.go(5)
    with pytest.raises(CannotExtend) as refused:
        extending.order(session, site.plan)
    assert refused.value.why == No.LONGEST
    site.go(310)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 300)
    assert [one.captured_minor for one in orders(session)] == [250] * 5
    assert [one.ref for one in orders(session)] == [f"{session.reference}-{n}" for n in range(1, 6)]


def test_money_that_cannot_be_held_is_taken_at_once_and_kept_when_delivered(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay_later")
    intents = site.stripe.books.intents
    site.go(35)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PENDING
    assert intents
    site.go(60)
    session.refresh_from_db()
    assert (session.state, session.duration_s) == (State.COMPLETED, 60)


# -- one order at a time


def test_a_second_tap_leads_to_the_same_payment_page(site: World) -> None:
    session = running(site)
    first = ordered(site, session)
    again = extending.order(session, site.plan)
    assert again.pk == first.pk
    assert open_checkout(again) == first.checkout_url
    assert Payment.objects.filter(purpose=Purpose.EXTENSION).count() == 1


def test_a_dropped_extension_is_expired_at_stripe_and_another_may_follow(site: World) -> None:
    session = running(site)
    first = ordered(site, session)
    assert extending.drop(session)
    assert not extending.drop(session)
    with pytest.raises(CannotExtend) as refused:
        extending.order(session, site.plan)
    assert refused.value.why == No.PENDING
    site.go(1)
    first.refresh_from_db()
    assert first.status == PaymentStatus.VOIDED
    assert site.stripe.books.sessions[first.checkout_id or ""]["status"] == "expired"
    extended(site, session)
    assert session.duration_s == 120


def test_a_payment_that_beats_the_drop_goes_back_and_adds_nothing(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    assert extending.drop(session)
    site.go(40)
    payment.refresh_from_db()
    session.refresh_from_db()
    assert (payment.status, payment.applied_at, session.duration_s) == (PaymentStatus.VOIDED, None, 60)
    assert session.state == State.RUNNING


def test_an_extension_that_nobody_pays_is_expired_when_it_is_as_old_as_a_hold(site: World) -> None:
    UsagePlan.objects.update(duration_s=3600, max_total_s=7200)
    site.plan.refresh_from_db()
    session = running(site)
    payment = ordered(site, session)
    site.go(590)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PENDING
    site.go(15)
    payment.refresh_from_db()
    session.refresh_from_db()
    assert payment.status == PaymentStatus.FAILED
    assert (session.state, session.duration_s) == (State.RUNNING, 3600)


def test_a_declined_card_changes_nothing(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "decline")
    site.go(70)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 60)
    assert site.money() == [("authorized", 250), ("captured", 250)]


def test_the_reconciler_finds_a_paid_extension_that_nobody_told_of(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    site.go(40)
    payment.refresh_from_db()
    assert payment.applied_at is not None
    assert payment.settled_by == "reconciler"


# -- what is in the way


def test_who_waits_in_line_goes_before_more_minutes(site: World) -> None:
    session = running(site)
    QueueEntry.objects.create(token_hash="h", token="t", device=site.device)
    with pytest.raises(CannotExtend) as refused:
        extending.order(session, site.plan)
    assert refused.value.why == No.IN_LINE


@pytest.mark.parametrize("fields", [{"maintenance_since": NOW}, {"blocked_since": NOW}, {"online": False}])
def test_a_device_that_is_not_sold_is_not_sold_for_longer(site: World, fields: dict[str, Any]) -> None:
    session = running(site)
    Device.objects.update(**fields)
    with pytest.raises(CannotExtend) as refused:
        extending.order(session, site.plan)
    assert refused.value.why == No.CLOSED


def test_a_site_that_sells_nothing_sells_no_minutes(site: World) -> None:
    session = running(site)
    SiteSettings.objects.update_or_create(pk=1, defaults={"devices_enabled": False})
    assert offered(site, session).why == No.CLOSED


def test_a_session_of_a_plan_that_is_not_extendable_stays_as_it_was_bought(site: World) -> None:
    UsagePlan.objects.update(extendable=False)
    session = running(site, UsagePlan.objects.get(pk=site.plan.pk))
    UsagePlan.objects.update(extendable=True)
    assert offered(site, session).why == No.NOT_EXTENDABLE


def test_the_offer_names_the_plans_that_fit_in_the_operator_s_order(site: World) -> None:
    long = site.add_plan(site.device, duration_s=240, extendable=True, sort_order=1)
    site.add_plan(site.device, duration_s=241, extendable=True, sort_order=2)
    site.add_plan(site.device, duration_s=30, extendable=False, sort_order=3)
    session = running(site)
    assert [one.pk for one in offered(site, session).plans] == [site.plan.pk, long.pk]


def heater_on(site: World, house_w: int) -> DeviceSession:
    """Six of ten kilowatts are drawn by the session itself, and ``house_w`` by the house beside it."""
    powered = Powered(site)
    device = powered.machine("Heater", 6000, plan={"extendable": True, "max_total_s": 3000})
    powered.read_relays()
    session = powered.run(device)
    site.go(40)
    powered.reads(6000 + house_w)
    return DeviceSession.objects.select_related("device__location", "device__account").get(pk=session.pk)


@pytest.mark.parametrize(("house_w", "why"), [(3900, None), (4200, No.NO_POWER)])
def test_high_power_goes_on_where_the_site_carries_it_already(site: World, house_w: int, why: No | None) -> None:
    session = heater_on(site, house_w)
    assert offered(site, session).why == why


def test_the_watts_of_an_extended_session_stay_promised_until_its_new_end(site: World) -> None:
    session = heater_on(site, 0)
    payment = ordered(site, session, session.device.plans.get())
    site.at_checkout(payment, "pay")
    settle(payment.pk, by="page")
    site.go(700)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    assert Promise.objects.filter(session=session.pk, released_at__isnull=True).exists()
    site.go(600)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 1200)
    assert not Promise.objects.filter(released_at__isnull=True).exists()


# -- the end and the money meet


def paid_before_the_end(site: World, before_s: float) -> tuple[DeviceSession, Payment]:
    session = running(site)
    payment = ordered(site, session)
    site.go(left_until_end(site, session) - before_s)
    site.at_checkout(payment, "pay")
    return session, payment


def test_a_payment_in_the_last_moment_extends_without_a_gap(site: World) -> None:
    session, payment = paid_before_the_end(site, 0.2)
    settle(payment.pk, by="page")
    payment.refresh_from_db()
    assert payment.applied_at is not None
    site.go(70)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 120)
    assert site.relay() == [(True, "request"), (False, "request")]


def test_a_payment_that_is_seen_after_the_end_is_given_back_whole(site: World) -> None:
    session, payment = paid_before_the_end(site, 0.2)
    site.go(30)
    session.refresh_from_db()
    payment.refresh_from_db()
    assert (session.state, session.delivered_s, session.duration_s) == (State.COMPLETED, 60, 60)
    assert (payment.status, payment.applied_at, payment.charge_minor) == (PaymentStatus.VOIDED, None, 0)
    assert site.money() == [("authorized", 250), ("captured", 250), ("authorized", 250), ("voided", 250)]
    assert orders(session)[0].charge_minor == 250


def test_minutes_that_are_over_are_not_extended_by_a_late_worker(site: World) -> None:
    session, payment = paid_before_the_end(site, 0.2)
    assert session.ends_at is not None
    site.manual.set(session.ends_at + timedelta(seconds=200))
    settle(payment.pk, by="webhook")
    payment.refresh_from_db()
    assert (payment.applied_at, payment.charge_minor) == (None, 0)
    site.go(60)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.VOIDED


def test_the_end_makes_a_pending_extension_due_at_once(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    assert services.stop_by_guest(session)
    payment.refresh_from_db()
    assert (payment.due_at, payment.charge_minor) == (site.now, 0)
    site.go(2)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.VOIDED


def test_a_holder_that_sleeps_over_the_old_end_does_not_switch_off(site: World) -> None:
    """The worker has claimed the row for its end a second ahead; the extension comes before it acts."""
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    assert session.ends_at is not None
    site.manual.set(session.ends_at - timedelta(seconds=0.5))
    claims = claim(handler_for("sessions_app.devicesession"), limit=10, ahead_s=1)
    assert session.pk in {one.pk for one in claims}
    settle(payment.pk, by="webhook")
    site.manual.set(site.now + timedelta(seconds=0.6))
    moves.advance(claims)
    session.refresh_from_db()
    assert (session.state, session.duration_s) == (State.RUNNING, 120)


# -- stopped early, spread over the orders


@pytest.mark.parametrize(
    ("after_s", "kept"),
    [(30.2, [125, 0]), (90.2, [250, 125])],
    ids=["within the first order", "within the extension"],
)
def test_what_was_delivered_is_spread_over_the_orders_in_turn(site: World, after_s: float, kept: list[int]) -> None:
    session = running(site)
    extended(site, session)
    site.go(10)
    session.refresh_from_db()
    assert session.started_at is not None
    site.go((session.started_at - site.now).total_seconds() + after_s)
    assert services.stop_by_guest(session)
    site.go(60)
    settled = orders(session)
    assert [one.charge_minor for one in settled] == kept
    assert [one.captured_minor - one.refunded_minor for one in settled] == kept


@pytest.mark.parametrize(("after_s", "became"), [(90.2, ("captured", 125)), (30.2, ("voided", 250))])
def test_an_extension_that_was_never_captured_is_captured_for_its_share_or_let_go(
    site: World, after_s: float, became: tuple[str, int]
) -> None:
    session = running(site)
    site.fault(site.stripe_server, on="payment_intents.capture", do="drop", times=-1)
    payment = extended(site, session)
    site.go(10)
    session.refresh_from_db()
    assert session.started_at is not None
    site.go((session.started_at - site.now).total_seconds() + after_s)
    assert services.stop_by_guest(session)
    site.ctl(site.stripe_server, "DELETE", "/_ctl/faults")
    site.go(120)
    told = [(one["kind"], one["amount"]) for one in site.ledger(site.stripe_server) if one.get("order") == payment.ref]
    assert told == [("authorized", 250), became]


def test_an_extension_that_came_too_late_takes_no_part_in_the_settlement(site: World) -> None:
    """A paid one over the limit beside an applied one: only what was added is charged."""
    UsagePlan.objects.update(max_total_s=120)
    site.plan.refresh_from_db()
    session = running(site)
    payment = ordered(site, session)
    DeviceSession.objects.filter(pk=session.pk).update(max_total_s=60)
    site.at_checkout(payment, "pay")
    site.tell(session)
    site.go(70)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 60)
    assert [(one.status, one.charge_minor) for one in orders(session)] == [
        (PaymentStatus.SUCCEEDED, 250),
        (PaymentStatus.VOIDED, 0),
    ]


def test_a_refused_capture_of_an_extension_ends_the_session_by_rule_five(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    intent = next(one for one in site.stripe.books.intents.values() if one["status"] == "requires_capture")
    site.fault(site.shelly_server, on="read", do="drop", times=3)
    site.tell(session)
    site.ctl(site.stripe_server, "POST", f"/_ctl/payment_intents/{intent['id']}/cancel")
    site.go(60)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.PAYMENT_FAILED)
    first, second = orders(session)
    assert (second.captured_minor, second.charge_minor) == (0, 0)
    assert first.captured_minor - first.refunded_minor == 250 * min(60, session.delivered_s or 0) // 60


def test_our_own_cancel_of_a_late_extension_does_not_end_the_session(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    DeviceSession.objects.filter(pk=session.pk).update(max_total_s=60)
    settle(payment.pk, by="webhook")
    payment.refresh_from_db()
    assert (payment.status, payment.charge_minor) == (PaymentStatus.AUTHORIZED, 0)
    site.ctl(site.stripe_server, "POST", f"/_ctl/payment_intents/{payment.intent_id}/cancel")
    settle(payment.pk, by="webhook")
    session.refresh_from_db()
    payment.refresh_from_db()
    assert (session.state, payment.status) == (State.RUNNING, PaymentStatus.VOIDED)


# -- an ON that does not arrive


def test_an_extension_that_the_relay_never_heard_of_is_given_back(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": False})
    site.at_checkout(payment, "pay")
    site.tell(session)
    margin_s = site.settings.NUMBERS.timer_margin_s
    site.go(200)
    session.refresh_from_db()
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": True})
    site.go(100)
    session.refresh_from_db()
    payment.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.RECONCILIATION)
    assert session.delivered_s is not None
    assert 60 <= session.delivered_s <= 60 + margin_s
    assert payment.charge_minor == 250 * (session.delivered_s - 60) // 60
    assert [cause for _, cause in site.relay()][:2] == ["request", "timer"]


def test_minutes_between_the_old_timer_and_a_late_on_are_given_again(site: World) -> None:
    """The device is away when the extension comes, goes off by its timer, and answers again before the new end."""
    UsagePlan.objects.update(max_total_s=3000)
    site.plan.refresh_from_db()
    long = site.add_plan(site.device, duration_s=600, extendable=True)
    session = running(site)
    payment = ordered(site, session, long)
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": False})
    site.at_checkout(payment, "pay")
    site.tell(session)
    site.go(200)
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": True})
    site.go(1000)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 660)
    changes = site.ledger(site.shelly_server, "relay")
    on_s = sum(off["t"] - on["t"] for on, off in zip(changes[::2], changes[1::2], strict=True))
    assert [one["cause"] for one in changes] == ["request", "timer", "request", "request"]
    assert on_s >= 660


# -- standing still


def test_an_extension_in_a_power_hold_adds_its_minutes_and_the_resume_arms_them(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    with transaction.atomic():
        on_power_order(PowerOrder(site.device.pk, "pause", "power is short", site.now))
    site.go(10)
    site.at_checkout(payment, "pay")
    sent = len(site.switched())
    site.tell(session)
    payment.refresh_from_db()
    session.refresh_from_db()
    assert (session.state, payment.status) == (State.PAUSED, PaymentStatus.AUTHORIZED)
    assert payment.applied_at is not None
    assert len(site.switched()) == sent
    with transaction.atomic():
        on_power_order(PowerOrder(site.device.pk, "resume", "power is back", site.now))
    site.go(200)
    session.refresh_from_db()
    payment.refresh_from_db()
    assert (session.state, session.delivered_s, payment.status) == (State.COMPLETED, 120, PaymentStatus.SUCCEEDED)
    assert timers(site)[-1] > 120 - 10


def test_an_extension_while_the_relay_is_switched_on_again_waits_for_its_confirmation(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.settings.NUMBERS = replace(site.settings.NUMBERS, status_every_s=2)
    site.fault(site.shelly_server, on="switch_on", do="drop", times=1)
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"press": 0})
    site.go(33)
    session.refresh_from_db()
    assert session.paused_at is not None
    site.at_checkout(payment, "pay")
    site.tell(session)
    re_on = RelayCommand.objects.filter(reason="re_on").latest("pk")
    assert not RelayCommand.objects.filter(reason="extend").exists()
    site.go(300)
    re_on.refresh_from_db()
    session.refresh_from_db()
    payment.refresh_from_db()
    assert session.delivered_s == 120
    assert (session.state, payment.status) == (State.COMPLETED, PaymentStatus.SUCCEEDED)
