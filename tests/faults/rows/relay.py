"""What the device rows ask of relays, attempts and alerts.

Bounds: the relay's own timer ends power 10 s after the minutes (``HYGATE_TIMER_MARGIN_S`` of the harness), a status is
read every 3 s (RECON), an account's gap is 1.1 s, an OFF that fails goes on in rounds at most 5 s apart. Faults that
the plan lets last ten minutes last 30 s here.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

from tests.faults.evidence import wanted_of
from tests.faults.row import Row, Sale, Thing
from tests.stack.stack import wait_for

MARGIN_S = 10.0
"""``HYGATE_TIMER_MARGIN_S`` of the stack: what the relay's own timer gives beyond the minutes."""
RECON_S = 3.0
BACKOFF_CAP_S = 5.0
ROUND_S = 15 + 2 * 1.1
NEXT_ROUND_S = 4.0
"""Attempts nearer than this to each other belong to one round."""
OFFLINE = {"status": 400, "body": {"error": "DEVICE_OFFLINE", "data": {"messages": []}}}
MAX_REQ = {"isok": False, "errors": {"max_req": "Request limit reached!"}}


# -- what several rows ask


def asked(row: Row, thing: Thing, *, on: bool) -> list[float]:
    """When this relay was asked for ON (or OFF), oldest first."""
    return [t for t, wish in row.wishes(thing) if wish is on]


def limited(row: Row) -> set[float]:
    """When a request met the account's limit: it reached no device and costs no place in the round."""
    return {one["t"] for one in row.evidence().requests if one["status"] == 429}


def tries(row: Row) -> str:
    """Every attempt of the row's commands: seconds since the first, what, and what came of it."""
    attempts = row.evidence().attempts
    since = min((one["sent_at"] for one in attempts), default=0.0)
    return ", ".join(f"{one['sent_at'] - since:.1f} {one['kind']} {one['error'] or one['outcome']}" for one in attempts)


def armed_s(row: Row, thing: Thing) -> list[tuple[float, float]]:
    """Each ON that was sent to this relay: when, and the seconds of its timer."""
    found = []
    for entry in row.evidence().switching():
        if wanted_of(entry, thing.shelly_id, thing.channel):
            found.append((entry["t"], float(entry["body"]["toggle_after"])))
    return found


def moved(row: Row, thing: Thing, *, on: bool, cause: str = "") -> list[float]:
    """When the contact itself moved."""
    changes = row.evidence().changes(thing.shelly_id, thing.channel)
    return [one["t"] for one in changes if one["on"] is on and cause in ("", one["cause"])]


def expect_rounds(row: Row, times: list[float], *, most: int = 3) -> None:
    """At most three attempts to a round, each half a second after the one before (I9)."""
    length = 0
    for before, after in itertools.pairwise([float("-inf"), *times]):
        length = length + 1 if after - before < NEXT_ROUND_S else 1
        row.expect(length <= most, f"{length} attempts in one round: {times}")
        row.expect(after - before >= 0.5, f"two attempts within {after - before:.2f} s")


def audited(row: Row, kind: str, device: Thing) -> list[dict[str, Any]]:
    """``data`` of this device's audit events of a kind, oldest first."""
    told = row.stack.sql(
        "SELECT data FROM hygate_auditevent WHERE kind = %s AND device = %s ORDER BY id", kind, device.id
    )
    return [one[0] for one in told]


def alerts_ever(row: Row, kind: str, *, device: Thing | None = None, account: Thing | None = None) -> list[Any]:
    """(times noticed, closed at) of every alert of this kind, the closed ones too."""
    if device is not None:
        return row.stack.sql(
            "SELECT times, closed_at FROM hygate_alert WHERE kind = %s AND device = %s", kind, device.id
        )
    assert account is not None
    return row.stack.sql(
        "SELECT times, closed_at FROM hygate_alert WHERE kind = %s AND account = %s", kind, account.account_id
    )


def is_told(row: Row, kind: str, account: Thing) -> bool:
    return bool(alerts_ever(row, kind, account=account))


def expect_one_alert(row: Row, kind: str, **about: Thing) -> None:
    found = alerts_ever(row, kind, **about)
    row.expect(len(found) == 1, f"{len(found)} alerts '{kind}' instead of one")


def device_column(row: Row, thing: Thing, name: str) -> Any:
    return row.stack.sql(f"SELECT {name} FROM devices_device WHERE id = %s", thing.id)[0][0]


def for_sale(row: Row, thing: Thing) -> bool:
    return row._state_at(row.phone(), thing) == "free"


def cost_nothing(row: Row, sale: Sale, *reasons: str) -> None:
    """The session is off, and so is the hold on the guest's card."""
    row.expect(row.column(sale, "reason") in (reasons or ("start_failed",)), f"reason {row.column(sale, 'reason')}")
    wait_for(lambda: bool(row.money(sale, "voided")), 20, f"the order of {sale.thing.code} is let go")
    row.expect(not row.money(sale, "captured"), "something was captured")


def side_by_side(*parts: Callable[[], None]) -> None:
    """Several stories of one row at the same time; the first complaint is the row's."""
    complaints: list[BaseException] = []

    def tell(part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as error:
            complaints.append(error)

    threads = [threading.Thread(target=tell, args=(part,), daemon=True) for part in parts]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for error in complaints:
        raise error


def each(row: Row, plan: dict[str, Any], stories: Iterable[Callable[[Thing], None]]) -> None:
    """Tell every story on a device, and an account, of its own."""
    pairs = [(row.prepare(**plan)[0], story) for story in stories]
    for thing, _ in pairs:
        row.until_sellable(thing)
    side_by_side(*(lambda thing=thing, story=story: story(thing) for thing, story in pairs))
