"""The energy rows: readings that are old, wrong or lie, and watts that two want at once."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from hygate.demo.guest import Unexpected
from tests.faults.registry import row
from tests.faults.roof import Plant
from tests.faults.row import Row, Sale, Thing
from tests.stack.stack import wait_for

HEATER_W = 3000
NEVER_W = 20_000


def heater(row: Row, plant: Plant, *, watts: int = HEATER_W, **plan: Any) -> Thing:
    """One sold relay at the plant's site, for sale when this returns."""
    thing = row.prepare(watts=watts, **plan)[0]
    plant.hang(thing, watts=watts)
    row.until_sellable(thing)
    return thing


def refuses(row: Row, thing: Thing, within_s: float = 15) -> None:
    guest = row.phone()
    wait_for(lambda: row._state_at(guest, thing) == "no_power", within_s, f"{thing.code} is not sold any more", 0.3)


@row("E1", "the energy source falls silent", off_late_s=2.5)
def e1(row: Row) -> None:
    """New high power is refused before payment, a paid session waits and is given back, a running one runs its time."""
    plant = Plant(row, limit_w=20_000)
    runs = heater(row, plant, duration_s=14)
    waits, new = heater(row, plant, grace_s=7), heater(row, plant)
    running = row.buy(runs)
    row.until(running, "running", within_s=20)
    paid = row.buy(waits)
    row.until(paid, "grace", within_s=10)
    plant.wire(mute=True)
    refuses(row, new)
    row.until(paid, "waiting_for_power", within_s=20)
    row.until(paid, "cancelled", within_s=30)
    row.expect(row.column(paid, "reason") == "no_power", "the session was not given back for want of power")
    row.until(running, "completed", within_s=30)
    wait_for(lambda: plant.told() == ["energy_silent"], 30, "one alert tells of the silent source", 0.5)
    plant.wire(mute=False)
    row.until_sellable(new)
    wait_for(lambda: plant.told() == [], 20, "the alert is closed", 0.5)


@row("E2", "the grid meter's sign flips: import shows as export")
def e2(row: Row) -> None:
    """The balance refuses the reading at once and the source soon after; nothing is sold on the room that it shows."""
    plant = Plant(row)
    plant.house(8500)
    thing = row.prepare(watts=HEATER_W)[0]
    plant.hang(thing, watts=HEATER_W)
    refuses(row, thing, within_s=40)
    plant.knobs(flip_sign=True)
    guest, over = row.phone(), time.monotonic() + 8
    while time.monotonic() < over:
        row.expect(row._state_at(guest, thing) != "free", "it was sold on a flipped sign")
        time.sleep(0.3)
    wait_for(lambda: plant.told() == ["energy_sign"], 20, "one alert tells of the sign", 0.5)
    plant.knobs(flip_sign=False)
    plant.house(1500)
    row.until_sellable(thing, within_s=60)
    row.until(row.buy(thing), "completed", within_s=40)
    row.expect(plant.told() == [], "the alert is still open")


@row("E3", "impossible numbers: a thousand times too much, 10⁹ W, no charge at all")
def e3(row: Row) -> None:
    """Rejected, not cut to size: nothing is sold until the plant makes sense again."""
    plant = Plant(row)
    thing = heater(row, plant)
    absurd = {"30005": [0x3B9A, 0xCA00]}, {"30005": [0xC465, 0x3600]}, {"30014": [0xFFFF]}
    for words in row.rng.sample(absurd, len(absurd)):
        plant.wire(words={int(register): said for register, said in words.items()})
        refuses(row, thing) if "30014" not in words else time.sleep(2)
        plant.wire(words={})
        row.until_sellable(thing)
    row.until(row.buy(thing), "completed", within_s=40)


@row("E4", "the plant answers every question with a failure")
def e4(row: Row) -> None:
    """No storm of questions: tried again after growing pauses. What was known grows old, as in E1."""
    plant = Plant(row)
    thing = heater(row, plant)
    plant.wire(fail_next=10_000)
    refuses(row, thing)
    before = len(plant.simulator.modbus.requests)
    time.sleep(8)
    row.expect(len(plant.simulator.modbus.requests) - before <= 40, "a failing plant is asked without end")
    plant.wire(fail_next=0)
    row.until_sellable(thing, within_s=60)


@row("E5", "two guests want the same watts at the same moment")
def e5(row: Row) -> None:
    """One is sold; the other is told before paying. The sum stays within the headroom."""
    plant = Plant(row, limit_w=6000)
    things = [heater(row, plant), heater(row, plant)]
    barrier, sold, told = threading.Barrier(2), list[Sale](), list[str]()

    def want(thing: Thing) -> None:
        guest = row.phone()
        guest.open(f"{row.stack.base_url}/d/{thing.code}/")
        barrier.wait(10)
        try:
            sold.append(row.hold(thing, guest))
        except Unexpected as refused:
            told.append(str(refused))
        except Exception as error:  # a thread's finding belongs to the row
            told.append(f"unexpected: {error!r}")

    threads = [threading.Thread(target=want, args=(one,)) for one in things]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    row.expect((len(sold), len(told)) == (1, 1), f"{len(sold)} were sold, the others heard: {told}")
    row.expect("no_power" in told[0], f"the other heard {told[0]}")
    row.pay(sold[0])
    row.until(sold[0], "completed", within_s=40)
    row.until_sellable(things[0])


@row("E6", "headroom swings below and above the need with each reading", off_late_s=2.5)
def e6(row: Row) -> None:
    """Shed with minimum times: the relay does not follow each swing, and every second is delivered in the end."""
    plant = Plant(row)
    thing = row.prepare(watts=HEATER_W, duration_s=12)[0]
    plant.hang(thing, watts=HEATER_W, min_on_s=4, min_off_s=4)
    row.until_sellable(thing)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    for number in range(14):
        plant.house(NEVER_W if number % 3 == 2 else 1500)
        time.sleep(1.0)
    plant.house(1500)
    row.until(sale, "completed", within_s=60)
    changes = len(row.evidence().changes(thing.shelly_id, thing.channel))
    row.expect(4 <= changes <= 10, f"the relay changed {changes} times in {14} swings")


@row("E7", "the gate passes, the payment takes long, the headroom is gone")
def e7(row: Row) -> None:
    """Asked again at the start: the session waits, and is given back with the reason."""
    plant = Plant(row)
    thing = heater(row, plant)
    sale = row.hold(thing)
    plant.house(9000)
    time.sleep(row.rng.uniform(2.0, 5.0))
    row.pay(sale)
    row.until(sale, "waiting_for_power", within_s=15)
    with suppress(Unexpected):
        row.look(sale)
    row.expect("You are next" in sale.guest.html, "the page does not say who is next")
    row.until(sale, "cancelled", within_s=30)
    row.expect(row.column(sale, "reason") == "no_power", "the session was not given back for want of power")
