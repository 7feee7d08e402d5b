"""The device rows of the thing on the wall: reboots, hands on the button, old values, swaps, other controllers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from tests.faults.registry import row
from tests.faults.row import Row, Thing
from tests.faults.rows.relay import (
    OFFLINE,
    RECON_S,
    armed_s,
    asked,
    audited,
    cost_nothing,
    device_column,
    each,
    expect_one_alert,
    for_sale,
    side_by_side,
)
from tests.stack.stack import wait_for


@row("D26", "another controller reverts every ON", alerts=("blocked_fought_over",))
def d26(row: Row) -> None:
    """At most two more ONs, ten seconds apart; then OFF, money back, device blocked, one alert that says why."""
    thing = row.device(duration_s=60)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    time.sleep(row.rng.uniform(0, 2))
    row.knob(thing, enforced_off=True)
    row.until(sale, "cancelled", within_s=60)
    row.expect(row.column(sale, "reason") == "relay_off_prematurely", f"reason {row.column(sale, 'reason')}")
    ons = asked(row, thing, on=True)
    row.expect(2 <= len(ons) <= 3, f"{len(ons) - 1} more ONs instead of at most two")
    apart = [after - before for before, after in itertools.pairwise(ons)]
    row.expect(min(apart) >= 10 - 0.25, f"ONs only {min(apart):.1f} s apart")
    row.expect(row.wishes(thing)[-1][1] is False, "no OFF at the end")
    expect_one_alert(row, "blocked_fought_over", device=thing)
    advice = row.stack.sql(
        "SELECT advice FROM hygate_alert WHERE kind = 'blocked_fought_over' AND device = %s", thing.id
    )
    row.expect("mySigen" in advice[0][0], f"the advice does not name the likely culprit: {advice[0][0]}")
    row.expect(not for_sale(row, thing), "a blocked device was for sale")


@row("D11", "a reboot in the middle: the relay comes back off")
def d11(row: Row) -> None:
    """It is switched on again for the rest; where that cannot be done, what was not delivered goes back."""

    def again(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        time.sleep(row.rng.uniform(2, 6))
        row.knob(thing, reboot=True)
        row.until(sale, "completed", within_s=70)
        armed = armed_s(row, thing)
        row.expect(len(armed) == 2, f"{len(armed)} ONs instead of two")
        row.expect(armed[1][1] < armed[0][1], f"the second ON was not for the rest: {armed}")
        row.expect(bool(audited(row, "relay_went_off", thing)), "the audit does not say that it went off")

    def never_again(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        time.sleep(row.rng.uniform(2, 6))
        row.relay_fault(thing, "switch_on", do="status", times=-1, **OFFLINE)
        row.knob(thing, reboot=True)
        row.until(sale, "cancelled", within_s=60)
        row.expect(row.column(sale, "reason") == "relay_off_prematurely", f"reason {row.column(sale, 'reason')}")
        row.expect(row.column(sale, "delivered_s") < 12, f"{row.column(sale, 'delivered_s')} s count as delivered")

    pairs = ((row.prepare(duration_s=20)[0], again), (row.prepare(duration_s=75)[0], never_again))
    for thing, _ in pairs:
        row.until_sellable(thing)
    side_by_side(*(lambda thing=thing, story=story: story(thing) for thing, story in pairs))


@row("D14", "a hand on the wall button: ON when idle, OFF in the middle", free_power_s=RECON_S + 6)
def d14(row: Row) -> None:
    """Idle: OFF. In the middle: ON again, the time that was lost is given. Free power: RECON, a gap, the OFF's turn."""

    def idle(thing: Thing) -> None:
        time.sleep(row.rng.uniform(0, 3))
        row.knob(thing, press=thing.channel)
        wait_for(lambda: not row.is_on(thing), RECON_S + 6, "a stray relay is off again")
        strays = [one for one in audited(row, "relay_off_wanted", thing) if one["reason"] == "stray_on"]
        row.expect(len(strays) == 1, f"{len(strays)} OFFs for a stray in the audit")

    def middle(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        time.sleep(row.rng.uniform(1, 8))
        row.knob(thing, press=thing.channel)
        row.until(sale, "completed", within_s=60)
        row.expect(bool(audited(row, "relay_went_off", thing)), "the audit does not say that it went off")
        row.expect(bool(audited(row, "relay_came_back", thing)), "the audit does not say that it came back")

    each(row, {"duration_s": 15}, [idle, middle])


@row("D19", "the cloud shows old values after the device was unplugged", free_power_s=45.0)
def d19(row: Row) -> None:
    """``online: true`` and the last values, for ON and for OFF: neither is taken for a proof.

    Free power: an OFF that reached nobody leaves the relay to its timer, 10 s; a start that was never proven is called
    off 30 s after its ON (start window), and its relay is off with that.
    """

    def never_proven(thing: Thing) -> None:
        sale = row.hold(thing)
        row.knob(thing, stale=True)
        row.pay(sale)
        row.until(sale, "cancelled", within_s=50)
        cost_nothing(row, sale)
        row.knob(thing, stale=False)

    def never_proven_off(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        row.knob(thing, stale=True)
        row.relay_fault(thing, "switch_off", do="body", times=-1)
        row.until(sale, "stopping", within_s=20)
        stays_until = time.monotonic() + 8 + row.rng.uniform(0, 4)
        while time.monotonic() < stays_until:
            row.expect(device_column(row, thing, "must_be_off_since") is not None, "old values proved an OFF")
            time.sleep(0.5)
        row.expect(not for_sale(row, thing), "for sale although nobody knows that it is off")
        row.heal_relay(thing)
        row.knob(thing, stale=False)
        row.until(sale, "completed", within_s=30)

    each(row, {"duration_s": 8}, [never_proven, never_proven_off])


@row("D22", "the device was swapped, has no such channel, or is a cover", alerts=("blocked_not_as_set_up",))
def d22(row: Row) -> None:
    """The set-up is wrong and no repetition helps: one attempt, the hold let go, no sale until a person has looked."""

    def story(code: str) -> Callable[[Thing], None]:
        def tell(thing: Thing) -> None:
            body = {"error": code, "data": {"messages": []}}
            row.relay_fault(thing, "switch_on", do="status", status=400, body=body, times=-1)
            sale = row.buy(thing)
            row.until(sale, "cancelled", within_s=20)
            row.expect(len(asked(row, thing, on=True)) == 1, f"{code} was retried as if it could pass")
            cost_nothing(row, sale)
            row.expect(not for_sale(row, thing), f"still for sale after {code}")
            expect_one_alert(row, "blocked_not_as_set_up", device=thing)

        return tell

    codes = ["no_permissions", "DEVICE_NOT_FOUND", "DEVICE_INVALID_CHANNEL", "DEVICE_INVALID_MODE"]
    each(row, {}, [story(code) for code in codes])


@row(
    "D12",
    "power returns with the relay on while the server is dead",
    lane="alone",
    free_power_s=90.0,
    by_timer=True,
    alerts=("power_up", "blocked_power_up"),
)
def d12(row: Row) -> None:
    """The residual risk: a relay with ``restore_last``, its timer lost, and nobody there. Commissioning refuses such a
    relay for high power and warns of others; the server's return ends it at once.

    Free power: as long as the server is dead, here 5 s and its own start (up to a minute on a busy machine). What is
    asserted is tighter: the first OFF leaves 3 s after a worker is there.
    """
    from devices.commissioning import check_power_up
    from devices.models import Device

    thing = row.device(duration_s=8)
    heater = row.prepare(beside=thing, rated_w=9000)[0]
    for one in (thing, heater):
        row.knob(one, initial_state=row.rng.choice(("restore_last", "on")))
    check_power_up(list(Device.objects.select_related("location").filter(pk__in=[thing.id, heater.id])))
    expect_one_alert(row, "power_up", device=thing)
    row.expect(device_column(row, heater, "blocked_reason") == "power_up", "high power was accepted on such a relay")
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    product = [name for name in row.stack.product if row.stack.process[name].runs]
    row.after.append(lambda: row.stack.run(*(one for one in product if not row.stack.process[one].runs)))
    row.stack.kill(*product)
    row.knob(thing, reboot=True)
    time.sleep(max(0.0, row.column(sale, "ends_at").timestamp() - time.time() + 5))
    row.expect(row.is_on(thing), "the row is wrong: the relay is off")
    since = time.time()
    row.stack.run(*product)
    wait_for(lambda: row.stack.workers_seen(since, "worker:relays%") > 0, 60, "a relay worker is back")
    ready_at = time.time()
    wait_for(lambda: not row.is_on(thing), 10, "the relay is off")
    off_at = asked(row, thing, on=False)[0]
    row.expect(off_at - ready_at <= 3, f"the first OFF left {off_at - ready_at:.1f} s after a worker was there")
    row.until(sale, "completed", within_s=20)
    row.stack.wait_ready(since)
