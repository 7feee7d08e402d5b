"""The device rows of ending: OFF that fails, times out, lies, meets nobody, or opens no contact."""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import Any

from tests.faults.registry import row
from tests.faults.row import Row
from tests.faults.rows.relay import (
    BACKOFF_CAP_S,
    MARGIN_S,
    MAX_REQ,
    OFFLINE,
    RECON_S,
    ROUND_S,
    alerts_ever,
    asked,
    audited,
    device_column,
    expect_one_alert,
    expect_rounds,
    for_sale,
    limited,
    moved,
    tries,
)
from tests.stack.stack import wait_for


@row("D7", "OFF fails for ten minutes", free_power_s=MARGIN_S, limits_hit=True)
def d7(row: Row) -> None:
    """Refusals, 5xx and silence mixed: rounds with a capped back-off go on, the relay's own timer ends the power.

    Its readings fail too, so that nothing can be proven meanwhile. Free power: the timer's margin. The device is not
    sold, and one alert tells a person.
    """
    thing = row.device(duration_s=6)
    kinds: list[dict[str, Any]] = [
        {"do": "status", **OFFLINE},
        {"do": "status", "status": 503, "body": "Service Unavailable"},
        {"do": "status", "status": 429, "body": MAX_REQ},
        {"do": "hang_before", "seconds": 5.5},
    ]
    row.rng.shuffle(kinds)
    for kind in kinds:
        row.relay_fault(thing, "switch_off", times=row.rng.randint(1, 2), **kind)
    row.relay_fault(thing, "switch_off", times=-1, do="status", **OFFLINE)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    row.relay_fault(thing, "read", times=-1, do="status", status=503, body="Service Unavailable")
    row.until(sale, "stopping", within_s=20)
    ended_at = time.monotonic()
    healed_at = ended_at + 30
    wait_for(lambda: bool(alerts_ever(row, "off_overdue", device=thing)), 20, "a person is told")
    while time.monotonic() < healed_at:
        row.expect(not for_sale(row, thing), "a device that cannot be switched off was for sale")
        time.sleep(1.0)
    row.expect(len(moved(row, thing, on=False, cause="timer")) == 1, "the relay's own timer did not end the power")
    row.heal_relay(thing)
    wait_for(lambda: device_column(row, thing, "must_be_off_since") is None, BACKOFF_CAP_S + ROUND_S, "OFF is proven")
    offs = asked(row, thing, on=False)
    expect_rounds(row, [t for t in offs if t not in limited(row)])
    pauses = [after - before for before, after in itertools.pairwise(offs)]
    # a pause: the cap, an answer that did not come, three reads to be sure, and a rate limit's own wait
    row.expect(
        max(pauses) <= 5 + 5 + 4.5 + 2, f"the longest pause between two OFFs was {max(pauses):.1f} s: {tries(row)}"
    )
    row.until(sale, "completed", within_s=20)
    expect_one_alert(row, "off_overdue", device=thing)


@row("D9", "accepted, but the relay did not move", free_power_s=MARGIN_S)
def d9(row: Row) -> None:
    """The cloud says yes and the device never hears of it, for ON and for OFF: only the reading counts.

    Free power: three readings show the relay on before OFF is sent again; never longer than the timer's margin.
    """
    thing = row.device(duration_s=6)
    row.relay_fault(thing, "switch_on", do="body")
    row.relay_fault(thing, "switch_off", do="body")
    sale = row.buy(thing)
    row.until(sale, "running", within_s=30)
    row.expect(bool(moved(row, thing, on=True)), "it runs although the relay never moved")
    ons = asked(row, thing, on=True)
    row.expect(len(ons) >= 2, "the lost ON was not sent again")
    expect_rounds(row, ons)
    row.until(sale, "completed", within_s=40)
    offs = asked(row, thing, on=False)
    row.expect(len(offs) >= 2 or bool(moved(row, thing, on=False, cause="timer")), "an OFF that did nothing counted")
    expect_rounds(row, offs)


@row("D10", "offline at the end, and back with the relay on", free_power_s=45.0)
def d10(row: Row) -> None:
    """Power fails at the machine, its timer is gone, and it returns after the end with the relay on.

    Free power: 12 to 16 s out of reach after the end, then the next round (5 s), its OFF, and the margin of a ROUND for
    an account at work. What is asserted is tighter: OFF within RECON and a ROUND of the return.
    """
    thing = row.device(duration_s=8)
    row.knob(thing, initial_state="restore_last")
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    row.knob(thing, online=False)
    row.knob(thing, reboot=True)
    row.until(sale, "stopping", "completed", within_s=20)
    time.sleep(row.rng.uniform(12, 16))
    row.expect(row.is_on(thing), "the row is wrong: the relay is off before it returns")
    row.expect(not for_sale(row, thing), "a device out of reach was for sale")
    back_at = time.time()
    row.knob(thing, online=True)
    wait_for(lambda: not row.is_on(thing), RECON_S + ROUND_S, "the relay is off after its return")
    off_at = moved(row, thing, on=False)[-1]
    row.expect(off_at - back_at <= RECON_S + ROUND_S, f"it went off {off_at - back_at:.1f} s after its return")
    row.until(sale, "completed", within_s=20)
    row.expect(sum(one["amount"] for one in row.money(sale, "captured")) == 250, "the guest was not charged the price")
    wait_for(lambda: bool(audited(row, "relay_off_confirmed", thing)), 15, "the audit says when it was off")
    wanted, over = audited(row, "relay_off_wanted", thing), audited(row, "relay_off_confirmed", thing)
    row.expect(bool(wanted) and over[-1].get("after_s", 0) >= 12, f"the audit does not say how long it overran: {over}")
    expect_one_alert(row, "off_overdue", device=thing)


@row("D8", "OFF times out after the relay moved")
def d8(row: Row) -> None:
    """The reading proves it: one completion, no second OFF needed."""
    thing = row.device()
    row.relay_fault(thing, "switch_off", do="act_then_hang", seconds=row.rng.uniform(5.5, 7))
    sale = row.buy(thing)
    row.until(sale, "completed", within_s=40)
    row.expect(len(audited(row, "session_completed", thing)) == 1, "completed more than once")
    row.expect(len(asked(row, thing, on=False)) == 1, "an OFF that had acted was sent again")


@row("D20", "two sessions on two channels of one device, one of them cannot be switched off", free_power_s=MARGIN_S)
def d20(row: Row) -> None:
    """The other channel ends on time and is sold again. Free power: the timer's margin of the channel that is stuck."""
    stuck, other = row.prepare(channels=4, duration_s=10)[:2]
    row.until_sellable(stuck)
    row.until_sellable(other)
    for match in (f'"{stuck.shelly_id}","channel":{stuck.channel},', f"{stuck.shelly_id}_{stuck.channel}"):
        row.shelly("POST", "/_ctl/faults", {"on": "switch_off", "match": match, "do": "status", "times": -1, **OFFLINE})
        row.after.append(partial(heal_match, row, match))
    first, second = row.rng.sample((stuck, other), 2)
    sales = {thing.channel: row.buy(thing) for thing in (first, second)}
    row.until(sales[other.channel], "completed", within_s=40)
    wait_for(lambda: for_sale(row, other), 15, "the other channel is for sale again", 0.5)
    row.until(sales[stuck.channel], "stopping", "completed", within_s=20)
    time.sleep(8)
    for match in (f'"{stuck.shelly_id}","channel":{stuck.channel},', f"{stuck.shelly_id}_{stuck.channel}"):
        heal_match(row, match)
    row.until(sales[stuck.channel], "completed", within_s=30)


def heal_match(row: Row, match: str) -> None:
    def clear() -> None:
        for one in row.stack.shelly.faults._faults:
            if one.match == match:
                one.times = 0

    row.stack.shelly_server.call(clear)


@row("D21", "a welded contact: OFF is confirmed and power still flows", alerts=("blocked_welded",))
def d21(row: Row) -> None:
    """Two readings of power after a confirmed OFF: out of sale, one alert; the guest's session is over."""
    thing = row.device()
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    row.knob(thing, welded=thing.channel)
    row.until(sale, "completed", within_s=25)
    for _ in range(8):  # a meter speaks whenever its value moves
        row.knob(thing, watts=[row.rng.randint(50, 90)])
        time.sleep(1.7)
    wait_for(lambda: device_column(row, thing, "blocked_reason") == "welded", 12, "the device is out of sale")
    row.expect(not for_sale(row, thing), "a welded device was for sale")
    expect_one_alert(row, "blocked_welded", device=thing)
