"""Each invariant is silent on a right ledger and complains on one that was broken by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.evidence import Entry, Evidence, Roof
from tests.faults.invariants import INVARIANTS, judge
from tests.faults.registry import Scenario

DEVICE, T0, BOUGHT_S = "e86b00000001", 1_000_000.0, 60
ON_AT, END = T0 + 2, T0 + 62
Break = Callable[[Evidence], object]


def scenario(**fields: Any) -> Scenario:
    return Scenario("X1", "a purchase", lambda row: None, **fields)


def switch(t: float, on: bool) -> Entry:
    body = {"id": DEVICE, "channel": 0, "on": on} | ({"toggle_after": 90} if on else {})
    return {
        "t": t,
        "kind": "request",
        "account": "a",
        "path": "/v2/devices/api/set/switch",
        "body": body,
        "status": 200,
    }


def relay(t: float, on: bool) -> Entry:
    return {"t": t, "kind": "relay", "account": "a", "device": DEVICE, "channel": 0, "on": on, "cause": "request"}


def money(t: float, kind: str, amount: int = 250, **more: Any) -> Entry:
    return {"t": t, "kind": kind, "payment_intent": "pi_1", "amount": amount, "currency": "eur", "order": "S-1"} | more


def command(number: int, on: bool) -> Entry:
    return {"id": number, "device_id": 1, "on": on, "state": "confirmed"}


def attempt(number: int, at: float) -> Entry:
    return {"id": number, "command_id": number, "kind": "send", "sent_at": at, "outcome": "ok"}


def alert(kind: str, key: str = "k", **about: Any) -> Entry:
    return {"kind": kind, "key": key, "session": None, "device": None, "payment": None, "account": None} | about


def right() -> Evidence:
    """One guest, one hour of a washer in small: paid, on for what was bought, captured, off, confirmed."""
    session = {
        "id": 7, "device_id": 1, "reference": "S-1", "state": "completed", "reason": "", "refund_unused": True,
        "created_at": T0, "started_at": ON_AT, "ends_at": END, "off_requested_at": END, "closed_at": END + 1,
        "duration_s": BOUGHT_S, "delivered_s": BOUGHT_S,
    }  # fmt: skip
    payment = {
        "id": 3, "session_id": 7, "ref": "S-1", "purpose": "start", "status": "SUCCEEDED", "amount_minor": 250,
        "duration_s": BOUGHT_S, "currency": "eur", "captured_minor": 250, "refunded_minor": 0,
    }  # fmt: skip
    path = ("grace", "starting", "running", "stopping", "completed")
    return Evidence(
        requests=[switch(ON_AT - 0.1, True), switch(END + 0.1, False)],
        relays=[relay(ON_AT, True), relay(END + 0.2, False)],
        money=[money(T0 + 1, "authorized"), money(ON_AT + 1, "captured")],
        sessions=[session],
        payments=[payment],
        commands=[command(1, True), command(2, False)],
        attempts=[attempt(1, ON_AT - 0.15), attempt(2, END + 0.05)],
        audit=[{"session": 7, "kind": f"session_{state}"} for state in path],
        roof=Roof(10_000, 4.0, house=[(T0 - 10, 1000)], answered=[ON_AT - 1], rated={(DEVICE, 0): 3000}),
        devices=[{"id": 1, "shelly_id": DEVICE, "channel": 0, "name": "Washer", "online": True, "output": False}],
        physical={(DEVICE, 0): False},
        pages=[(T0 + 0.5, 7, "held"), (ON_AT + 1, 7, "running")],
    )


def extended(**changes: Any) -> Evidence:
    """The same hour, bought in two halves: the second was added while the first one ran."""
    seen, half = right(), BOUGHT_S // 2
    seen.payments[0] |= {"duration_s": half}
    added = {"id": 4, "ref": "S-1-2", "purpose": "extension", "applied_at": ON_AT + 10} | changes
    seen.payments.append(seen.payments[0] | added)
    seen.money += [
        money(ON_AT + 10, "authorized", order="S-1-2"),
        money(ON_AT + 12, "captured", order="S-1-2"),
    ]
    return seen


def stopped_early(**changes: Any) -> Evidence:
    """The guest stops after 30 of 60 s: half of the price stays, half goes back as one Refund row."""
    seen = right()
    half = ON_AT + 30
    seen.sessions[0] |= {
        "state": "cancelled",
        "reason": "stopped_by_guest",
        "off_requested_at": half,
        "delivered_s": 30,
    }
    seen.audit = [one for one in seen.audit if one["kind"] != "session_completed"]
    seen.audit.append({"session": 7, "kind": "session_cancelled"})
    seen.requests[1], seen.relays[1] = switch(half + 0.1, False), relay(half + 0.2, False)
    seen.attempts[1] = attempt(2, half + 0.05)
    seen.money.append(money(half + 1, "refunded", 125, refund="re_1"))
    seen.refunds = [{"id": 5, "payment_id": 3, "amount_minor": 125, "status": "succeeded", "made_by": "hygate"}]
    seen.payments[0] |= {"status": "PARTIALLY_REFUNDED", "refunded_minor": 125} | changes
    return seen


def two_tries() -> Evidence:
    """The first ON was not answered; the second one, a second later, has an attempt of its own."""
    seen = right()
    seen.requests.insert(0, switch(ON_AT - 1.2, True))
    seen.attempts.insert(0, {"id": 9, "command_id": 1, "kind": "send", "sent_at": ON_AT - 1.25, "outcome": "unknown"})
    return seen


def complaints(seen: Evidence, number: str, **fields: Any) -> list[str]:
    return list(INVARIANTS[number](seen, scenario(**fields)))


@pytest.mark.parametrize("number", INVARIANTS)
@pytest.mark.parametrize("ledger", [right, stopped_early, two_tries])
def test_every_invariant_is_silent_on_a_right_ledger(ledger: Callable[[], Evidence], number: str) -> None:
    assert complaints(ledger(), number) == []


def roof_of(seen: Evidence) -> Roof:
    assert seen.roof is not None
    return seen.roof


def second_session(seen: Evidence, **fields: Any) -> None:
    seen.sessions.append(seen.sessions[0] | {"id": 8, "reference": "S-2", "created_at": T0 + 10} | fields)


BROKEN: dict[str, tuple[str, Break]] = {
    "kept_too_much": ("I1", lambda seen: seen.sessions[0].update(delivered_s=30)),
    "kept_too_little": ("I1", lambda seen: seen.money.append(money(END, "refunded", 10, refund="re_1"))),
    "captured_without_power": ("I1", lambda seen: seen.sessions[0].update(delivered_s=0)),
    "captured_for_an_unknown_order": ("I1", lambda seen: seen.money.append(money(END, "captured", order="S-9"))),
    "captured_twice": ("I2", lambda seen: seen.money.append(money(END, "captured"))),
    "two_start_orders": ("I2", lambda seen: seen.payments.append(seen.payments[0] | {"ref": "S-1b"})),
    "session_never_ends": ("I3", lambda seen: seen.sessions[0].update(state="running")),
    "hold_forgotten": ("I3", lambda seen: seen.money.pop()),
    "on_after_the_end": ("I4", lambda seen: seen.relays[1].update(t=END + 5)),
    "on_without_payment": ("I4", lambda seen: seen.money.clear()),
    "on_again_with_nobody": ("I4", lambda seen: seen.relays.extend([relay(END + 9, True), relay(END + 15, False)])),
    "still_on": ("I5", lambda seen: seen.physical.update({(DEVICE, 0): True})),
    "off_late": ("I5", lambda seen: seen.requests[1].update(t=END + 2)),
    "off_early": ("I5", lambda seen: seen.requests[1].update(t=END - 0.5)),
    "two_at_once": ("I6", second_session),
    "backwards": ("I7", lambda seen: seen.audit.append({"session": 7, "kind": "session_running"})),
    "state_without_audit": ("I7", lambda seen: seen.sessions[0].update(state="cancelled")),
    "step_left_out": ("I7", lambda seen: seen.audit.pop(1)),
    "unaudited": ("I8", lambda seen: seen.attempts.pop(1)),
    "audited_afterwards": ("I8", lambda seen: seen.attempts[0].update(sent_at=ON_AT + 3)),
    "no_outcome": ("I8", lambda seen: seen.attempts[0].update(outcome="pending")),
    "on_without_a_timer": ("I8", lambda seen: seen.requests[0]["body"].pop("toggle_after")),
    "off_with_a_timer": ("I8", lambda seen: seen.requests[1]["body"].update(toggle_after=5)),
    "asked_twice_at_once": ("I9", lambda seen: seen.requests.append(switch(END + 0.3, False))),
    "over_the_limit": ("I9", lambda seen: seen.requests[0].update(status=429)),
    "shown_on_too_early": ("I10", lambda seen: seen.pages.append((T0 + 1, 7, "running"))),
    "refunded_more_than_captured": (
        "I11", lambda seen: seen.money.append(money(END, "refunded", 300, refund="re_1"))
    ),
    "refund_owed_and_not_made": (
        "I11",
        lambda seen: seen.refunds.append(
            {"id": 5, "payment_id": 3, "amount_minor": 125, "status": "succeeded", "made_by": "hygate"}
        ),
    ),
    "on_by_an_old_reading": ("I13", lambda seen: roof_of(seen).answered.clear()),
    "more_than_the_site_carries": ("I13", lambda seen: roof_of(seen).house.append((T0 - 9, 9000))),
    "capture_not_in_our_books": ("I14", lambda seen: seen.payments[0].update(captured_minor=0)),
    "refund_not_in_our_books": ("I14", lambda seen: seen.payments[0].update(refunded_minor=100)),
    "command_left_open": ("I14", lambda seen: seen.commands[1].update(state="queued")),
    "relay_is_not_as_we_say": ("I14", lambda seen: seen.devices[0].update(output=True)),
    "short_of_power": ("I15", lambda seen: seen.relays[1].update(t=END - 3)),
    "completed_with_less": ("I15", lambda seen: seen.sessions[0].update(delivered_s=59)),
    "alert_left_open": ("I16", lambda seen: seen.alerts.append(alert("off_fails"))),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_ledger_is_seen(name: str) -> None:
    number, break_it = BROKEN[name]
    seen = right()
    break_it(seen)
    assert complaints(seen, number), f"{number} does not see {name}"


def test_the_orders_of_an_extended_session_are_used_up_in_turn() -> None:
    seen = extended()
    assert [said for number in INVARIANTS for said in complaints(seen, number)] == []
    seen.sessions[0].update(delivered_s=30)
    assert complaints(seen, "I1") == ["order S-1-2 is off by 250 minor units"]


def test_an_extension_that_was_never_added_may_keep_nothing() -> None:
    seen = extended(applied_at=None)
    seen.sessions[0].update(duration_s=30, delivered_s=30)
    assert complaints(seen, "I1") == ["order S-1-2 is off by 250 minor units"]
    seen.money[-1] = money(ON_AT + 20, "voided", order="S-1-2")
    assert complaints(seen, "I1") == []


def test_seconds_that_no_order_bought_are_seen() -> None:
    assert complaints(extended(applied_at=None), "I15")


def test_every_invariant_has_a_broken_ledger() -> None:
    assert {number for number, _ in BROKEN.values()} == set(INVARIANTS)


def test_a_second_refund_of_the_same_part_is_seen() -> None:
    seen = stopped_early()
    seen.money.append(money(END, "refunded", 125, refund="re_2"))
    assert complaints(seen, "I1") and complaints(seen, "I11")


def test_a_refund_that_failed_at_the_bank_does_not_count_as_paid_back() -> None:
    seen = stopped_early()
    seen.money.append(money(END, "refund_failed", 125, refund="re_1"))
    assert complaints(seen, "I1") == ["order S-1 is off by 125 minor units"]


def test_what_staff_give_back_lowers_what_may_be_kept() -> None:
    seen = right()
    seen.money.append(money(END, "refunded", 100, refund="re_1"))
    assert complaints(seen, "I1")
    seen.refunds = [{"id": 5, "payment_id": 3, "amount_minor": 100, "status": "succeeded", "made_by": "user:1"}]
    assert complaints(seen, "I1") == []
    seen.money.append(money(END, "refunded", 100, refund="re_2"))
    assert complaints(seen, "I1")


def test_a_refund_by_staff_makes_up_for_the_one_that_failed() -> None:
    seen = stopped_early()
    seen.money += [money(END, "refund_failed", 125, refund="re_1"), money(END + 9, "refunded", 125, refund="re_2")]
    seen.refunds[0]["status"] = "failed"
    seen.refunds.append({"id": 6, "payment_id": 3, "amount_minor": 125, "status": "succeeded", "made_by": "user:1"})
    assert complaints(seen, "I1") == []
    assert complaints(seen, "I11") == []


def test_a_plan_that_keeps_its_price_may_keep_it_only_when_the_guest_stopped() -> None:
    seen = stopped_early()
    seen.money.pop()
    seen.sessions[0]["refund_unused"] = False
    assert complaints(seen, "I1") == []
    seen.sessions[0]["reason"] = "relay_off_prematurely"
    assert complaints(seen, "I1")


def test_power_that_an_operator_gave_on_the_spot_is_not_free_power() -> None:
    seen = right()
    seen.relays += [relay(END + 9, True), relay(END + 15, False)]
    seen.operator_on = [(DEVICE, 0, END + 9, END + 15)]
    assert complaints(seen, "I4") == []


def test_a_row_s_own_bounds_are_allowed_and_not_more() -> None:
    seen = right()
    seen.requests[1]["t"] = seen.relays[1]["t"] = END + 4
    assert complaints(seen, "I4") and complaints(seen, "I5")
    assert complaints(seen, "I5", off_late_s=4.1) == []
    assert complaints(seen, "I5", off_late_s=3.9)
    assert complaints(seen, "I5", by_timer=True) == []
    assert complaints(seen, "I4", free_power_s=3.0) == []


def test_an_expected_alert_must_be_open_and_stand_once() -> None:
    seen = right()
    assert complaints(seen, "I16", alerts=("dispute",)) == ["nobody was told: no alert 'dispute'"]
    seen.alerts = [alert("dispute", session=7)]
    assert complaints(seen, "I16", alerts=("dispute",)) == []
    seen.alerts.append(alert("dispute", session=7))
    assert complaints(seen, "I16", alerts=("dispute",)) == ["the alert 'dispute' stands twice"]


def test_what_waits_for_a_person_with_an_alert_is_not_lost() -> None:
    seen = right()
    seen.sessions[0]["state"] = "stopping"
    seen.alerts = [alert("off_fails", session=7)]
    assert complaints(seen, "I3") == []


def test_the_verdict_sums_up_and_leaves_out_what_the_row_breaks_on_purpose() -> None:
    seen = right()
    seen.money.append(money(END, "captured"))
    verdict = judge(seen, scenario(excused=("I2",)))
    assert verdict.money_off_minor == 250
    assert (verdict.commands, verdict.sessions) == (2, 1)
    assert not [one for one in verdict.complaints if one.startswith("I2:")]
    assert [one for one in verdict.complaints if one.startswith("I1:")]
    assert verdict.worst_off_s == pytest.approx(0.1)
    assert verdict.worst_free_s == pytest.approx(0.2)
