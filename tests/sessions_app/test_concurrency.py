"""Many at once, with real threads on the real database: one sale, one start, one settlement."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

from devices.relays.models import RelayCommand
from sessions_app import selling, services
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.payments import settling
from sessions_app.states import State
from tests.world import World, kinds_of


def at_once(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work`` in ``number`` threads released together; answers each result or the exception it raised."""
    barrier, results = threading.Barrier(number), [None] * number

    def one(index: int) -> None:
        barrier.wait()
        try:
            results[index] = work(index)
        except Exception as error:
            results[index] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_of_many_guests_at_once_one_gets_the_device_and_the_others_are_told_before_paying(world: World) -> None:
    results = at_once(6, lambda _index: world.hold())
    sold = [one for one in results if isinstance(one, DeviceSession)]
    told = [one.kind for one in results if isinstance(one, selling.CannotBuy)]
    assert len(sold) == 1
    assert told == ["busy"] * 5
    assert Payment.objects.count() == 1


def test_webhook_page_and_reconciler_in_the_same_moment_make_one_start(world: World) -> None:
    session = world.buy()
    payment = session.payments.get()
    sources = ["webhook", *["page"] * 5, "reconciler"]
    results = at_once(len(sources), lambda index: settling.settle(payment, by=sources[index]))
    assert not [one for one in results if isinstance(one, Exception)]
    assert kinds_of(session).count("session_grace") == 1
    world.go(40)
    assert RelayCommand.objects.filter(on=True).count() == 1
    assert world.money() == [("authorized", 250), ("captured", 250)]


def test_a_guest_who_stops_as_the_time_ends_is_settled_once(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(8)
    session.refresh_from_db()
    assert session.ends_at is not None
    world.manual.set(session.ends_at)

    def act(index: int) -> Any:
        return services.stop_by_guest(session) if index % 2 else world.go(0)

    results = at_once(4, act)
    assert not [one for one in results if isinstance(one, Exception)]
    world.go(30)
    session.refresh_from_db()
    assert session.state in (State.COMPLETED, State.CANCELLED)
    assert kinds_of(session).count("settlement") == 1
    assert kinds_of(session).count("session_stopping") == 1
    assert RelayCommand.objects.filter(on=False).count() == 1
    assert Refund.objects.count() == 0
    assert world.money() == [("authorized", 250), ("captured", 250)]
