"""What ``make smoke`` demands of a purchase, as one pure function over what money, relay, audit and page say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

OFF_WITHIN_S = 1.0
CLOCK_STEP_S = 0.05
STEPS = (
    ("session_held", "slot_held"),
    ("payment_authorized", "payment_succeeded"),
    ("session_grace",),
    ("session_starting",),
    ("relay_on_wanted",),
    ("shelly_on_success",),
    ("relay_on_confirmed",),
    ("session_running",),
    ("payment_captured",),
    ("session_stopping",),
    ("settlement",),
    ("relay_off_wanted",),
    ("shelly_off_success",),
    ("relay_off_confirmed",),
    ("session_completed",),
)
"""What the audit has to tell; one of each row is enough."""
MONEY_BACK = ("refunded", "voided")


@dataclass(frozen=True)
class Sale:
    """What was bought, as the database has it."""

    account: str
    shelly_id: str
    channel: int
    intent_id: str
    price_minor: int
    currency: str
    since: float
    ends_at: float


@dataclass(frozen=True)
class Evidence:
    """What others saw: both ledgers, the audit's kinds in order, and when the page first said what."""

    shelly: Sequence[dict[str, Any]]
    stripe: Sequence[dict[str, Any]]
    audit: Sequence[tuple[float, str]]
    page: Sequence[tuple[float, str]]


@dataclass
class Verdict:
    timeline: list[tuple[float, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def judge(sale: Sale, seen: Evidence) -> Verdict:
    verdict = Verdict()
    _relay(sale, seen, verdict)
    _money(sale, seen, verdict)
    _audit(seen, verdict)
    verdict.timeline += [(at, f"page   says {state}") for at, state in seen.page]
    verdict.timeline += [(at, f"audit  {kind}") for at, kind in seen.audit]
    verdict.timeline.sort(key=lambda line: line[0])
    return verdict


def _relay(sale: Sale, seen: Evidence, verdict: Verdict) -> None:
    entries = [entry for entry in seen.shelly if entry["t"] >= sale.since]
    wishes = [(entry, asked_for(entry, sale)) for entry in entries]
    ons = [entry for entry, on in wishes if on is True]
    offs = [entry for entry, on in wishes if on is False]
    changes = [entry for entry in entries if _is_change(entry, sale)]
    _require_on(ons, changes, seen, verdict)
    _require_off(sale, offs, changes, verdict)
    for entry, on in wishes:
        if on is not None:
            timer = find_value(entry["body"], "toggle_after")
            asked = f"ON for at most {timer} s" if on else "OFF"
            verdict.timeline.append((entry["t"], f"relay  asked for {asked} (answer {entry['status']})"))
    for entry in changes:
        verdict.timeline.append((entry["t"], f"relay  is {'ON' if entry['on'] else 'OFF'} (cause: {entry['cause']})"))


def _require_on(ons: list[Any], changes: list[Any], seen: Evidence, verdict: Verdict) -> None:
    if not ons:
        verdict.complaints.append("Nobody asked the relay to go on.")
    if any(not find_value(entry["body"], "toggle_after") for entry in ons):
        verdict.complaints.append("An ON request carried no timer (toggle_after).")
    on_at = next((entry["t"] for entry in changes if entry["on"]), None)
    if on_at is None:
        verdict.complaints.append("The relay never went on.")
    said_at = next((at for at, state in seen.page if state == "running"), None)
    if said_at is None:
        verdict.complaints.append("The page never said that it runs.")
    elif on_at is None or said_at < on_at - CLOCK_STEP_S:
        verdict.complaints.append("The page said that it runs before the relay was on.")


def _require_off(sale: Sale, offs: list[Any], changes: list[Any], verdict: Verdict) -> None:
    if not offs:
        verdict.complaints.append("Nobody asked the relay to go off.")
    else:
        late_s = offs[0]["t"] - sale.ends_at
        if late_s > OFF_WITHIN_S:
            verdict.complaints.append(f"OFF was asked for {late_s:.2f} s after the promised end, later than 1.0 s.")
        if late_s < -CLOCK_STEP_S:
            verdict.complaints.append(f"OFF was asked for {-late_s:.2f} s before the promised end.")
    last = changes[-1] if changes else None
    if last is None or last["on"]:
        verdict.complaints.append("The relay is still on.")
    elif last["cause"] != "request":
        verdict.complaints.append(f"The relay went off by {last['cause']}, not because we asked.")


def _money(sale: Sale, seen: Evidence, verdict: Verdict) -> None:
    ours = [entry for entry in seen.stripe if sale.intent_id and entry.get("payment_intent") == sale.intent_id]
    for entry in ours:
        verdict.timeline.append((entry["t"], f"money  {entry['kind']} {entry['amount']} {entry['currency']}"))
    captured = [entry["amount"] for entry in ours if entry["kind"] == "captured"]
    if captured != [sale.price_minor]:
        said = " and ".join(map(str, captured)) or "nothing"
        verdict.complaints.append(f"Captured was {said} instead of {sale.price_minor} {sale.currency} once.")
    for kind in MONEY_BACK:
        if any(entry["kind"].startswith(kind) for entry in ours):
            verdict.complaints.append(f"Something was {kind}, although all was delivered.")


def _audit(seen: Evidence, verdict: Verdict) -> None:
    told = {kind for _, kind in seen.audit}
    missing = [step[0] for step in STEPS if not told.intersection(step)]
    if missing:
        verdict.complaints.append(f"The audit does not tell of {', '.join(missing)}.")


def asked_for(entry: dict[str, Any], sale: Sale) -> bool | None:
    """Whether a request asked for this relay to be on or off; None when it did neither."""
    if entry["kind"] != "request" or entry["account"] != sale.account or "/set/" not in entry["path"]:
        return None
    body = entry["body"]
    if not isinstance(body, dict) or not _names(body, sale):
        return None
    on = find_value(body, "on")
    return on if isinstance(on, bool) else None


def _names(body: dict[str, Any], sale: Sale) -> bool:
    if str(body.get("id", "")).lower() == sale.shelly_id:
        return int(body.get("channel", 0)) == sale.channel
    text = json.dumps(body).lower()
    return any(f'"{sale.shelly_id}{mark}{sale.channel}"' in text for mark in "_:") or (
        sale.channel == 0 and f'"{sale.shelly_id}"' in text
    )


def _is_change(entry: dict[str, Any], sale: Sale) -> bool:
    return bool(
        entry["kind"] == "relay"
        and entry["account"] == sale.account
        and entry["device"] == sale.shelly_id
        and entry["channel"] == sale.channel
    )


def find_value(body: Any, name: str) -> Any:
    """The first value called ``name`` anywhere in ``body``."""
    inner: Iterable[Any] = ()
    if isinstance(body, dict):
        if name in body:
            return body[name]
        inner = body.values()
    elif isinstance(body, list):
        inner = body
    return next((hit for value in inner if (hit := find_value(value, name)) is not None), None)
