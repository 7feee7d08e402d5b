"""The invariants I1–I16 of the fault plan, judged from the ledgers and never by the product's own code.

Each function answers complaints; no complaint means that the invariant holds. I12 (silent secrets) and the audit chain
of I8 are judged once for a whole lane.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tests.faults.evidence import Entry, Evidence
from tests.faults.registry import Scenario

OVER = ("completed", "cancelled")
MOVES = {
    "held": {"grace", "cancelled"},
    "grace": {"waiting_for_power", "starting", "cancelled"},
    "waiting_for_power": {"starting", "cancelled"},
    "starting": {"running", "cancelled"},
    "running": {"paused", "stopping", "cancelled"},
    "paused": {"running", "stopping", "cancelled"},
    "stopping": {"completed", "cancelled"},
    "completed": set(),
    "cancelled": set(),
}
"""The written table of moves (product.md), apart from the product's own copy of it."""
SLACK_S = 0.25
"""What two clocks' readings of one moment may differ by: the ledger's and the database's."""
SHORTEST_GAP_S = 0.45
DECIDED_BEFORE_S = 3.0
"""How long before its ON a start was decided: a wait for the account, and the request itself."""
MINIMUM = {"eur": 50, "usd": 50, "gbp": 30}


@dataclass
class Verdict:
    complaints: list[str] = field(default_factory=list)
    worst_off_s: float = 0.0
    worst_free_s: float = 0.0
    money_off_minor: int = 0
    commands: int = 0
    sessions: int = 0


def judge(seen: Evidence, scenario: Scenario) -> Verdict:
    verdict = Verdict(commands=len(seen.switching()), sessions=len(seen.sessions))
    verdict.worst_off_s = max((late for _, late in lateness(seen)), default=0.0)
    verdict.worst_free_s = max((s for _, s in free_power(seen)), default=0.0)
    verdict.money_off_minor = sum(abs(off) for _, off in money_off(seen))
    for number, invariant in INVARIANTS.items():
        if number not in scenario.excused:
            verdict.complaints += [f"{number}: {said}" for said in invariant(seen, scenario)]
    return verdict


# -- money


def captured(seen: Evidence, ref: str) -> int:
    return sum(int(one["amount"]) for one in seen.of_order(ref) if one["kind"] == "captured")


def given_back(seen: Evidence, ref: str) -> int:
    """What Stripe's last word on each refund says went back."""
    last = {one["refund"]: one for one in seen.of_order(ref) if one["kind"].startswith("refund")}
    return sum(int(one["amount"]) for one in last.values() if one["kind"] == "refunded")


def net(seen: Evidence, ref: str) -> int:
    return captured(seen, ref) - given_back(seen, ref)


def money_off(seen: Evidence) -> Iterator[tuple[str, int]]:
    """Order and how far what was kept is from what may be kept, in minor units."""
    sessions = {one["id"]: one for one in seen.sessions}
    for payment in seen.payments:
        kept = net(seen, payment["ref"])
        allowed = allowed_net(payment, sessions[payment["session_id"]], seen)
        if kept not in allowed:
            yield payment["ref"], min((kept - one for one in allowed), key=abs)


def allowed_net(payment: Entry, session: Entry, seen: Evidence) -> set[int]:
    """What may be kept for an order: the part of the price that was delivered, rounded in the guest's favour."""
    if not any(one["kind"] in ("authorized", "captured") for one in seen.of_order(payment["ref"])):
        return {0}
    delivered = delivered_of(payment, session, seen)
    charge = payment["amount_minor"] * delivered // payment["duration_s"]
    stopped_early = session["reason"] == "stopped_by_guest" and session.get("paused_at") is None
    is_confirmed = payment["purpose"] == "start" or payment.get("capture_wanted_at") is not None
    if not session["refund_unused"] and stopped_early and takes_part(payment) and is_confirmed:
        charge = payment["amount_minor"]
    charge = max(0, charge - given_by_people(payment, seen))
    too_small = charge < MINIMUM.get(payment["currency"], 0)
    held = payment["status"] in ("FAILED", "VOIDED")
    return {charge} | ({0} if too_small or held else set())


def takes_part(payment: Entry) -> bool:
    """An extension whose seconds were never added to its session has nothing to do with what was delivered."""
    return payment["purpose"] == "start" or payment["applied_at"] is not None


def delivered_of(payment: Entry, session: Entry, seen: Evidence) -> int:
    """Seconds of one order that were delivered; the orders of a session are used up in the order they were made."""
    if not takes_part(payment):
        return 0
    earlier = (one for one in seen.payments if one["session_id"] == session["id"] and one["id"] < payment["id"])
    before = sum(one["duration_s"] for one in earlier if takes_part(one))
    share: int = min(payment["duration_s"], (session["delivered_s"] or 0) - before)
    return max(0, share)


def given_by_people(payment: Entry, seen: Evidence) -> int:
    """What staff, or somebody in Stripe's own dashboard, decided to pay back beyond what Hygate owed.

    First of all it makes up for what Hygate asked for and the bank sent back.
    """
    rows = [one for one in seen.refunds if one["payment_id"] == payment["id"]]
    given = sum(one["amount_minor"] for one in rows if one["made_by"] != "hygate" and one["status"] == "succeeded")
    failed = sum(one["amount_minor"] for one in rows if one["made_by"] == "hygate" and one["status"] == "failed")
    return max(0, int(given - failed))


def i1(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    for ref, off in money_off(seen):
        yield f"order {ref} is off by {off} minor units"
    known = {payment["ref"] for payment in seen.payments}
    for entry in seen.money:
        if entry["kind"] == "captured" and entry["order"] not in known:
            yield f"captured {entry['amount']} for the unknown order {entry['order']}"


def i2(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    for payment in seen.payments:
        captures = [one for one in seen.of_order(payment["ref"]) if one["kind"] == "captured"]
        if len(captures) > 1:
            yield f"order {payment['ref']} was captured {len(captures)} times"
    starts = Counter(one["session_id"] for one in seen.payments if one["purpose"] == "start")
    yield from (f"session {session} has {n} start orders" for session, n in starts.items() if n != 1)


def i3(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    told = {alert["session"] for alert in seen.alerts} | {alert["device"] for alert in seen.alerts}
    for session in seen.sessions:
        if session["state"] not in OVER and not {session["id"], session["device_id"]} & told:
            yield f"session {session['reference']} is still {session['state']}"
    for payment in seen.payments:
        kinds = [one["kind"] for one in seen.of_order(payment["ref"])]
        funded = "authorized" in kinds
        settled = {"captured", "voided"} & set(kinds)
        if funded and not settled and payment["session_id"] not in told and payment["status"] != "FAILED":
            yield f"order {payment['ref']} was authorised and neither captured nor let go"


def i11(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    for payment in seen.payments:
        back, most = given_back(seen, payment["ref"]), captured(seen, payment["ref"])
        rows = [one for one in seen.refunds if one["payment_id"] == payment["id"]]
        owed = sum(one["amount_minor"] for one in rows if one["status"] not in ("failed", "covered"))
        if back > most:
            yield f"order {payment['ref']}: {back} went back of {most} captured"
        if back != owed:
            yield f"order {payment['ref']}: {back} went back, our rows say {owed}"


# -- power


def windows(seen: Evidence, device: Entry) -> list[tuple[float, float]]:
    """When power on this device belongs to a session that was paid for."""
    found = []
    for session in seen.sessions:
        if session["device_id"] != device["id"]:
            continue
        funded = [
            one["t"]
            for payment in seen.payments
            if payment["session_id"] == session["id"]
            for one in seen.of_order(payment["ref"])
            if one["kind"] in ("authorized", "captured")
        ]
        if not funded:
            continue
        ends = [one for one in (session["ends_at"], session["off_requested_at"]) if one]
        until = min(ends) if session["started_at"] and ends else session["closed_at"] or float("inf")
        found.append((min(funded), until))
    return found


def free_power(seen: Evidence) -> Iterator[tuple[str, float]]:
    """Relay and how many seconds it was on without a funded session, per stretch of being on."""
    for device in seen.devices:
        key = (device["shelly_id"], device["channel"])
        given = windows(seen, device)
        given += [(a, b) for one, channel, a, b in seen.operator_on if (one, channel) == key]
        for on, off in seen.stretches(*key):
            free = off - on - sum(max(0.0, min(off, b) - max(on, a)) for a, b in merged(given))
            yield f"{key[0]}:{key[1]}", max(0.0, free)


def merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    out: list[tuple[float, float]] = []
    for a, b in sorted(spans):
        if out and a <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], b))
        elif b > a:
            out.append((a, b))
    return out


def i4(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    # an OFF in order is read, sent and acted on within L of the promised end
    allowed = scenario.free_power_s + scenario.off_late_s + SLACK_S
    for relay, seconds in free_power(seen):
        if seconds > allowed:
            yield f"{relay} gave {seconds:.1f} s of free power (allowed: {allowed:.1f} s)"


def lateness(seen: Evidence) -> Iterator[tuple[str, float]]:
    """Session and by how much our first OFF request missed its promised end (positive = late)."""
    devices = {one["id"]: one for one in seen.devices}
    for session in seen.sessions:
        if not session["started_at"] or not session["ends_at"] or session["state"] not in OVER:
            continue
        device = devices[session["device_id"]]
        due = min(one for one in (session["ends_at"], session["off_requested_at"]) if one)
        later = [t for t, on in seen.wishes(device["shelly_id"], device["channel"]) if not on and t >= due - 1.0]
        if later:
            yield session["reference"], later[0] - due


def i5(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    for relay, is_on in seen.physical.items():
        if is_on:
            yield f"{relay[0]}:{relay[1]} is still on"
    for reference, late in lateness(seen):
        if late < -SLACK_S:
            yield f"session {reference} was switched off {-late:.2f} s early"
        if late > scenario.off_late_s and not scenario.by_timer:
            yield f"session {reference}: OFF was asked for {late:.2f} s late (allowed: {scenario.off_late_s} s)"


def i6(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    for device in seen.devices:
        live = sorted(
            (one["created_at"], one["closed_at"] or float("inf"), one["reference"])
            for one in seen.sessions
            if one["device_id"] == device["id"]
        )
        for before, after in pairwise(live):
            if after[0] < before[1] - SLACK_S:
                yield f"sessions {before[2]} and {after[2]} had one device at the same time"


def i7(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    for session in seen.sessions:
        told = [one["kind"].removeprefix("session_") for one in seen.audit if one["session"] == session["id"]]
        path = ["held", *(state for state in told if state in MOVES)]
        for before, after in pairwise(path):
            if after not in MOVES[before]:
                yield f"session {session['reference']} went from {before} to {after}"
        if path[-1] != session["state"]:
            yield f"session {session['reference']} is {session['state']}, its audit ends with {path[-1]}"


def i8(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    """Every switching request has an attempt written before it, and the attempt an outcome."""
    devices = {one["id"]: one for one in seen.devices}
    commands = {one["id"]: one for one in seen.commands}
    intents: dict[tuple[str, int, bool], list[float]] = {}
    for attempt in seen.attempts:
        command = commands[attempt["command_id"]]
        device = devices[command["device_id"]]
        if attempt["kind"] == "send":
            intents.setdefault((device["shelly_id"], device["channel"], command["on"]), []).append(attempt["sent_at"])
        if attempt["outcome"] == "pending":
            yield f"attempt {attempt['id']} has no outcome"
    for device in seen.devices:
        for t, on in seen.wishes(device["shelly_id"], device["channel"]):
            written = intents.get((device["shelly_id"], device["channel"], on), [])
            before = [at for at in written if at <= t + SLACK_S + scenario.clock_slack_s]
            if not before:
                yield f"{device['shelly_id']}:{device['channel']} was asked for {'ON' if on else 'OFF'} unaudited"
                continue
            written.remove(before[0])
    for one in seen.switching():
        body = one["body"] if isinstance(one["body"], dict) else {}
        text = json.dumps(body)
        is_on = '"on": true' in text or body.get("turn") == "on"
        has_timer = "toggle_after" in text or "timer" in body
        if is_on != has_timer:
            yield f"{'ON without' if is_on else 'OFF with'} a timer: {text}"


def i9(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    """At most three attempts to a round, half a second apart, and never over the account's limit."""
    by_device: dict[tuple[str, int], list[float]] = {}
    for device in seen.devices:
        key = (device["shelly_id"], device["channel"])
        by_device[key] = [t for t, _ in seen.wishes(*key)]
    for key, times in by_device.items():
        for before, after in pairwise(times):
            if after - before < SHORTEST_GAP_S:
                yield f"{key[0]}:{key[1]} was asked twice within {after - before:.2f} s"
    refused = [one for one in seen.requests if one["status"] in (401, 429)]
    if refused and not scenario.limits_hit:
        yield f"{len(refused)} requests met the account's limit or a refused key"


def i10(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    devices = {one["id"]: one for one in seen.devices}
    sessions = {one["id"]: one for one in seen.sessions}
    for asked, session_id, state in seen.pages:
        session = sessions.get(session_id)
        if session is None:
            continue
        device = devices[session["device_id"]]
        changes = seen.changes(device["shelly_id"], device["channel"])
        if state == "running" and not any(one["on"] and one["t"] <= asked + SLACK_S for one in changes):
            yield f"session {session['reference']}: the page said it runs before the relay was on"


def i13(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    """Every ON of high power met a reading that was young enough, and fitted beside the house and the others."""
    roof = seen.roof
    if roof is None:
        return
    on: dict[tuple[str, int], bool] = {}
    for change in sorted(seen.relays, key=lambda one: one["t"]):
        relay, t = (change["device"], change["channel"]), change["t"]
        on[relay] = bool(change["on"])
        if not change["on"] or relay not in roof.rated:
            continue
        age, drawn = roof.age_at(t), sum(roof.rated.get(one, 0) for one, is_on in on.items() if is_on)
        if age > roof.max_age_s + DECIDED_BEFORE_S:
            yield f"{relay[0]}:{relay[1]} went on by a reading of {age:.1f} s before"
        house = min(roof.house_at(t), roof.house_at(t - DECIDED_BEFORE_S))
        if house + drawn > roof.limit_w:
            yield f"{relay[0]}:{relay[1]} went on: {house} W of the house and {drawn} W sold of {roof.limit_w} W"


# -- agreement


def i14(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    for payment in seen.payments:
        taken, back = captured(seen, payment["ref"]), given_back(seen, payment["ref"])
        if payment["captured_minor"] != taken:
            yield f"order {payment['ref']}: {taken} was captured, our books say {payment['captured_minor']}"
        if payment["refunded_minor"] != back:
            yield f"order {payment['ref']}: {back} went back, our books say {payment['refunded_minor']}"
    for command in seen.commands:
        if command["state"] in ("queued", "sending", "accepted"):
            yield f"command {command['id']} is still {command['state']}"
    for device in seen.devices:
        really = seen.physical.get((device["shelly_id"], device["channel"]))
        if really is not None and device["online"] and device["output"] is not None and device["output"] != really:
            yield f"{device['name']}: our books say {device['output']}, the relay is {really}"


def i15(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    """A completed session was on for what was bought, measured at the relay."""
    devices = {one["id"]: one for one in seen.devices}
    for session in seen.sessions:
        if session["state"] != "completed" or session["reason"]:
            continue
        device = devices[session["device_id"]]
        start, end = session["created_at"], session["closed_at"] or float("inf")
        spans = seen.stretches(device["shelly_id"], device["channel"])
        on = sum(max(0.0, min(b, end) - max(a, start)) for a, b in spans)
        if on < session["duration_s"] - SLACK_S:
            yield f"session {session['reference']}: {on:.1f} s of power for {session['duration_s']} s bought"
        if session["delivered_s"] != session["duration_s"]:
            yield f"session {session['reference']} is completed with {session['delivered_s']} s delivered"
    given = {one["session"] for one in seen.audit if one["kind"] == "minutes_added"}
    for session in (one for one in seen.sessions if one["id"] not in given):
        orders = [one for one in seen.payments if one["session_id"] == session["id"] and takes_part(one)]
        bought = sum(one["duration_s"] for one in orders)
        if orders and bought != session["duration_s"]:
            yield f"session {session['reference']} has {session['duration_s']} s, its orders bought {bought} s"


def i16(seen: Evidence, scenario: Scenario) -> Iterator[str]:
    still = Counter(alert["kind"] for alert in seen.alerts)
    for kind, count in still.items():
        if kind not in scenario.alerts:
            yield f"an alert '{kind}' is open after everything healed"
        if count > len({alert["key"] for alert in seen.alerts if alert["kind"] == kind}):
            yield f"the alert '{kind}' stands twice"
    for kind in scenario.alerts:
        if kind not in still:
            yield f"nobody was told: no alert '{kind}'"


INVARIANTS: dict[str, Callable[[Evidence, Scenario], Iterator[str]]] = {
    "I1": i1, "I2": i2, "I3": i3, "I4": i4, "I5": i5, "I6": i6, "I7": i7, "I8": i8, "I9": i9, "I10": i10, "I11": i11,
    "I13": i13, "I14": i14, "I15": i15, "I16": i16,
}  # fmt: skip
