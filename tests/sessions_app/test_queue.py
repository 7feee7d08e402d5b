"""The line in front of a busy device: first come, first served, and nobody passes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from devices.models import Device
from hygate import clock
from hygate.models import SiteSettings
from sessions_app import selling, services
from sessions_app.models import DeviceSession, QueueEntry
from sessions_app.payments.checkout import open_checkout
from sessions_app.queue import line, rules
from sessions_app.queue import services as queue
from sessions_app.queue.models import IN_LINE, Place
from sessions_app.states import Reason, State
from tests.sessions_app.test_concurrency import at_once
from tests.world import World

OFFER_S, LOOK_S = 300, 15


def fresh(entry: QueueEntry) -> QueueEntry:
    return QueueEntry.objects.get(pk=entry.pk)


def place(entry: QueueEntry) -> str:
    return str(fresh(entry).place)


def waiting(world: World, number: int = 1) -> list[QueueEntry]:
    """That many guests in front of a device whose buyer is on the payment page."""
    world.hold()
    return [queue.join(world.device) for _ in range(number)]


def free(world: World) -> None:
    """The buyer changes his mind; Stripe confirms that nothing can be paid any more."""
    for session in DeviceSession.objects.filter(state=State.HELD):
        services.cancel_by_guest(session)
    world.go(2)


def offered(world: World, number: int = 1) -> list[QueueEntry]:
    entries = waiting(world, number)
    free(world)
    assert place(entries[0]) == Place.OFFERED
    return entries


def buy(world: World, entry: QueueEntry | None = None) -> DeviceSession:
    return selling.hold_slot(device=world.device, plan=world.plan, entry=entry)


# -- joining


@pytest.mark.parametrize("kind", ["free", "maintenance", "disabled"])
def test_there_is_a_line_only_where_waiting_helps(world: World, kind: str) -> None:
    if kind == "maintenance":
        Device.objects.update(maintenance_since=clock.now())
    elif kind == "disabled":
        SiteSettings.objects.update_or_create(defaults={"devices_enabled": False})
    with pytest.raises(queue.CannotJoin) as refusal:
        queue.join(world.device)
    assert refusal.value.kind == kind
    assert not QueueEntry.objects.exists()


def test_a_line_has_an_end(world: World) -> None:
    waiting(world, rules.MOST_IN_LINE)
    with pytest.raises(queue.CannotJoin) as refusal:
        queue.join(world.device)
    assert refusal.value.kind == "full"


def test_the_token_of_a_place_is_stored_as_hash_and_ciphertext(world: World) -> None:
    (entry,) = waiting(world)
    assert line.with_token(entry.token).get() == entry
    with connection.cursor() as cursor:
        cursor.execute("SELECT token FROM sessions_app_queueentry")
        assert entry.token not in cursor.fetchone()[0]
    assert len(entry.token) >= 43


# -- the device frees


def test_the_first_in_line_has_the_device_kept_as_soon_as_it_is_free(world: World) -> None:
    first, second = waiting(world, 2)
    world.go(60)
    assert (place(first), place(second)) == (Place.WAITING, Place.WAITING)
    free(world)
    entry = fresh(first)
    assert (entry.place, place(second)) == (Place.OFFERED, Place.WAITING)
    assert entry.offered_at is not None
    assert entry.offer_ends_at == entry.offered_at + timedelta(seconds=OFFER_S)
    assert (world.now - entry.offered_at).total_seconds() <= 2


def test_the_end_of_a_session_frees_the_device_for_the_line(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(10)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    entry = queue.join(world.device)
    world.go(20)
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    world.go(1)
    assert place(entry) == Place.OFFERED
    assert session.closed_at is not None
    offered_at = fresh(entry).offered_at
    assert offered_at is not None
    assert offered_at - session.closed_at <= timedelta(seconds=1)


def test_a_device_that_comes_back_from_maintenance_is_offered_within_a_look(world: World) -> None:
    (entry,) = waiting(world)
    Device.objects.filter(pk=world.device.pk).update(maintenance_since=world.now)
    free(world)
    world.go(60)
    assert place(entry) == Place.WAITING
    Device.objects.filter(pk=world.device.pk).update(maintenance_since=None)
    world.go(LOOK_S + 1)
    assert place(entry) == Place.OFFERED


def test_while_a_device_is_in_use_only_the_first_in_line_is_looked_at(world: World) -> None:
    first, *others = waiting(world, 3)
    world.go(30)
    assert fresh(first).due_at is not None
    assert [fresh(one).due_at for one in others] == [None, None]


def test_the_end_of_a_session_costs_the_line_one_update(world: World, django_assert_num_queries: Any) -> None:
    waiting(world, 3)
    with transaction.atomic(), django_assert_num_queries(1):
        line.freed([world.device.pk], world.now)


# -- nobody passes the line


def test_a_passer_by_does_not_get_what_is_kept_for_somebody(world: World) -> None:
    first, second = offered(world, 2)
    for stranger in (None, second):
        with pytest.raises(selling.CannotBuy) as refusal:
            buy(world, stranger)
        assert (refusal.value.kind, refusal.value.until) == ("kept", fresh(first).offer_ends_at)
    session = buy(world, first)
    assert (fresh(first).place, fresh(first).session) == (Place.TAKEN, session)


def test_a_free_device_that_nobody_was_offered_yet_is_not_sold_past_the_line(world: World) -> None:
    (entry,) = waiting(world)
    DeviceSession.objects.update(state=State.CANCELLED, reason=Reason.HOLD_EXPIRED)
    assert world.availability() == "kept"
    for stranger in (None, entry):
        with pytest.raises(selling.CannotBuy):
            buy(world, stranger)
    world.go(1 + LOOK_S)
    assert place(entry) == Place.OFFERED


def test_late_money_does_not_pass_the_line(world: World) -> None:
    """The hold ran out while the bank took its time; somebody else waited: the money goes back."""
    late = world.hold()
    open_checkout(late.payments.get())
    entry = queue.join(world.device)
    DeviceSession.objects.filter(pk=late.pk).update(state=State.CANCELLED, reason=Reason.HOLD_EXPIRED)
    line.freed([world.device.pk], world.now)
    world.go(1)
    assert place(entry) == Place.OFFERED
    world.at_checkout(late.payments.get(), "pay")
    world.tell(late)
    world.go(40)
    assert place(entry) == Place.OFFERED
    assert [kind for kind, _ in world.money()] == ["authorized", "voided"]
    assert DeviceSession.objects.count() == 1


def test_an_offer_that_is_not_taken_goes_to_the_next(world: World) -> None:
    first, second = offered(world, 2)
    world.go(OFFER_S + 2)
    assert (place(first), place(second)) == (Place.LAPSED, Place.OFFERED)
    with pytest.raises(selling.CannotBuy):
        buy(world, first)
    world.go(OFFER_S + 2)
    assert place(second) == Place.LAPSED
    assert world.availability() == "free"


def test_an_offer_is_not_sold_after_its_end_even_if_nobody_has_looked(world: World) -> None:
    (entry,) = offered(world)
    Device.objects.update(seen_at=world.now + timedelta(seconds=OFFER_S))
    world.manual.set(world.now + timedelta(seconds=OFFER_S))
    assert world.availability() == "kept"
    with pytest.raises(selling.CannotBuy):
        buy(world, entry)
    with transaction.atomic(), pytest.raises(line.NoOffer):
        line.take(entry.pk, 0, world.now)


def test_an_offer_on_a_device_that_cannot_be_sold_leaves_the_place(world: World) -> None:
    first, second = offered(world, 2)
    Device.objects.filter(pk=world.device.pk).update(maintenance_since=world.now)
    world.go(OFFER_S + 1)
    assert (place(first), place(second)) == (Place.WAITING, Place.WAITING)
    Device.objects.filter(pk=world.device.pk).update(maintenance_since=None)
    world.go(LOOK_S + 1)
    assert (place(first), place(second)) == (Place.OFFERED, Place.WAITING)


def test_five_more_minutes_are_given_once(world: World) -> None:
    (entry,) = offered(world)
    ends_at = fresh(entry).offer_ends_at
    assert ends_at is not None
    assert queue.prolong(entry)
    assert fresh(entry).offer_ends_at == ends_at + timedelta(seconds=OFFER_S)
    assert not queue.prolong(entry)
    world.go(OFFER_S + 1)
    assert place(entry) == Place.OFFERED
    world.go(OFFER_S)
    assert place(entry) == Place.LAPSED


@pytest.mark.parametrize("first_offered", [False, True])
def test_who_leaves_makes_room_for_the_next(world: World, first_offered: bool) -> None:
    first, second = offered(world, 2) if first_offered else waiting(world, 2)
    assert queue.leave(first)
    assert not queue.leave(first)
    assert not queue.prolong(first)
    if not first_offered:
        free(world)
    world.go(2)
    assert (place(first), place(second)) == (Place.LEFT, Place.OFFERED)


def test_who_did_not_pay_does_not_come_back_into_the_line(world: World) -> None:
    first, second = offered(world, 2)
    session = buy(world, first)
    assert list(QueueEntry.objects.filter(device=world.device, place__in=IN_LINE)) == [second]
    world.go(700)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.HOLD_EXPIRED)
    assert place(first) == Place.TAKEN
    assert place(second) in (Place.OFFERED, Place.LAPSED)


def test_a_place_is_forgotten_thirty_days_after_it_is_over(world: World, later: Any) -> None:
    (entry,) = waiting(world)
    queue.leave(entry)
    closed_at = fresh(entry).closed_at
    assert closed_at is not None
    assert fresh(entry).due_at == closed_at + timedelta(days=30)
    facts = rules.Facts(first=False, sellable=False)
    assert rules.decide(fresh(entry), facts, closed_at + timedelta(days=29)) is None
    QueueEntry.objects.update(closed_at=closed_at - timedelta(days=30), due_at=world.now)
    world.go(1)
    assert not QueueEntry.objects.exists()


# -- many at once


def test_a_device_is_offered_to_one_only_whoever_looks(world: World) -> None:
    """The database itself refuses a second offer, and the engine run by several threads makes one."""
    entries = waiting(world, 3)
    DeviceSession.objects.update(state=State.CANCELLED, reason=Reason.HOLD_EXPIRED)
    QueueEntry.objects.update(due_at=world.now)
    results = at_once(4, lambda _index: world.go(0))
    assert not [one for one in results if isinstance(one, Exception)]
    assert [place(one) for one in entries] == [Place.OFFERED, Place.WAITING, Place.WAITING]
    with pytest.raises(IntegrityError), transaction.atomic():
        QueueEntry.objects.filter(pk=entries[1].pk).update(place=Place.OFFERED, offer_ends_at=world.now)


def test_of_many_at_once_only_the_one_it_is_kept_for_buys(world: World) -> None:
    first, second = offered(world, 2)
    buyers = [None, first, second, None, first, second]
    results = at_once(len(buyers), lambda index: buy(world, buyers[index]))
    sold = [index for index, one in enumerate(results) if isinstance(one, DeviceSession)]
    assert len(sold) == 1
    assert buyers[sold[0]] == first
    assert {one.kind for one in results if isinstance(one, selling.CannotBuy)} <= {"kept", "busy"}
    assert len([one for one in results if isinstance(one, selling.CannotBuy)]) == 5
    assert fresh(first).session == results[sold[0]]


def test_buying_as_the_offer_ends_is_one_or_the_other(world: World) -> None:
    """Either the sale or the lapse, never both; the next one's offer never meets a sale."""
    first, second = offered(world, 2)
    ends_at = fresh(first).offer_ends_at
    assert ends_at is not None
    world.go((ends_at - world.now).total_seconds() - 1)  # through its readings: the device stays for sale
    world.manual.set(ends_at - timedelta(microseconds=1))

    def act(index: int) -> Any:
        if index == 0:
            world.manual.set(ends_at)
        return buy(world, first) if index % 2 else world.go(0)

    results = at_once(4, act)
    strange = [one for one in results if isinstance(one, Exception) and not isinstance(one, selling.CannotBuy)]
    assert not strange
    world.go(LOOK_S + 2)
    live = DeviceSession.objects.filter(state=State.HELD).count()
    taken = place(first) == Place.TAKEN
    assert live == int(taken)
    assert place(second) == (Place.WAITING if taken else Place.OFFERED)


def test_leaving_joining_and_freeing_at_once_keep_one_line(world: World) -> None:
    entries = waiting(world, 3)
    session = DeviceSession.objects.get(state=State.HELD)
    acts: list[Callable[[], Any]] = [
        lambda: queue.leave(entries[0]),
        lambda: queue.join(world.device),
        lambda: services.cancel_by_guest(session),
        lambda: world.go(0),
        lambda: queue.leave(entries[1]),
    ]
    results = at_once(len(acts), lambda index: acts[index]())
    assert not [one for one in results if isinstance(one, Exception) and not isinstance(one, queue.CannotJoin)]
    world.go(LOOK_S + 2)
    assert [place(one) for one in entries] == [Place.LEFT, Place.LEFT, Place.OFFERED]
    assert [one.due_at is None for one in line.in_line(world.device.pk)[1:]] == [True] * (
        line.length(world.device.pk) - 1
    )


# -- the guess


@pytest.mark.parametrize(
    ("busy", "ends", "before", "each", "guess"),  # minutes
    [
        (True, 18, 0, None, 18),
        (True, 18, 2, 60, 138),
        (True, -3, 0, 60, 0),
        (True, None, 0, 60, None),
        (True, 18, 1, None, None),
        (False, None, 1, 62, 65),
        (False, None, 0, 60, None),
    ],
)
def test_the_turn_is_guessed_where_anything_is_known(
    busy: bool, ends: int | None, before: int, each: int | None, guess: int | None
) -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    guessed = rules.turn_at(
        busy=busy,
        ends_at=None if ends is None else now + timedelta(minutes=ends),
        before=before,
        each_s=None if each is None else each * 60,
        now=now,
    )
    assert guessed == (None if guess is None else now + timedelta(minutes=guess))


def test_the_usual_length_is_the_middle_one() -> None:
    assert rules.usual_s([]) is None
    assert rules.usual_s([3600]) == 3600
    assert rules.usual_s([7200, 60, 3600]) == 3600
