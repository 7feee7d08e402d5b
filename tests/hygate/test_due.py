"""The engine: claims, leases, tokens, chunks, wake-ups, quarantine and the fallback sweep."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from hygate import clock
from hygate.due import Claim, Handler, Queue, hand_back, still_mine, wake, wakeups
from hygate.due import registry as due_registry
from hygate.due.claims import claim, take
from hygate.due.running import POISON_AFTER, run
from hygate.due.sweep import FallbackSweep, beat, chunks, silent_for_s, sweep, wake_rows
from hygate.models import AuditEvent
from sessions_app.models import WebhookEvent

LEASE_S = 8.0
pytestmark = pytest.mark.django_db(transaction=True)


def row(seconds: float = 0, name: str | None = None) -> WebhookEvent:
    return WebhookEvent.objects.create(
        event_id=name or f"evt_{uuid.uuid4()}", kind="test", due_at=clock.now() + timedelta(seconds=seconds)
    )


class Recorder:
    """An ``advance`` that notes what it was given and finishes the rows, unless they are poisoned."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.poison: set[int] = set()

    def __call__(self, claims: Sequence[Claim]) -> None:
        self.seen.append([one.pk for one in claims])
        if any(one.pk in self.poison for one in claims):
            raise RuntimeError("nobody foresaw this")
        WebhookEvent.objects.filter(still_mine(claims)).update(due_at=None)

    @property
    def rows(self) -> list[int]:
        return sorted(pk for chunk in self.seen for pk in chunk)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def handler(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Handler:
    """The only handler there is, for the length of a test."""
    made = Handler(WebhookEvent, recorder, Queue.MONEY, lambda: LEASE_S)
    monkeypatch.setattr(due_registry, "_handlers", {made.label: made})
    return made


def test_a_claimed_row_is_not_claimed_again_until_its_lease_is_over(handler: Handler, manual_clock: Any) -> None:
    row()
    assert len(claim(handler, limit=10)) == 1
    assert claim(handler, limit=10) == []
    manual_clock.sleep(LEASE_S + 0.1)
    assert len(claim(handler, limit=10)) == 1


def test_a_claim_never_touches_business_time(handler: Handler, manual_clock: Any) -> None:
    made = row()
    claim(handler, limit=10)
    due_at = WebhookEvent.objects.values_list("due_at", flat=True).get(pk=made.pk)
    assert due_at == made.due_at


def test_an_outsider_s_new_token_makes_the_holder_s_write_match_nothing(handler: Handler, manual_clock: Any) -> None:
    made = row()
    held = claim(handler, limit=10)
    WebhookEvent.objects.filter(pk=made.pk).update(claim_token=uuid.uuid4(), claimed_until=None)
    assert not WebhookEvent.objects.filter(still_mine(held)).update(due_at=None)


def test_handing_back_frees_only_what_is_still_ours(handler: Handler, manual_clock: Any) -> None:
    made = row()
    old = claim(handler, limit=10)
    manual_clock.sleep(LEASE_S + 0.1)
    new = claim(handler, limit=10)
    hand_back(handler, old)
    assert WebhookEvent.objects.get(pk=made.pk).claimed_until is not None
    hand_back(handler, new)
    assert WebhookEvent.objects.get(pk=made.pk).claimed_until is None


def test_rows_due_within_a_second_are_waited_for_and_done_on_their_moment(
    handler: Handler, recorder: Recorder, manual_clock: Any
) -> None:
    soon, far = row(0.7), row(5)
    sweep(run)
    assert recorder.rows == [soon.pk]
    assert manual_clock.now() >= soon.due_at
    assert WebhookEvent.objects.get(pk=far.pk).due_at is not None


def test_overdue_rows_share_chunks_and_later_ones_are_kept_apart_by_their_moments(manual_clock: Any) -> None:
    now, token = clock.now(), uuid.uuid4()
    late = [Claim("x", pk, token, now - timedelta(seconds=pk)) for pk in range(30)]
    apart = [Claim("x", 100, token, now + timedelta(seconds=0.2)), Claim("x", 101, token, now + timedelta(seconds=0.9))]
    assert [len(chunk) for chunk in chunks([*late, *apart], 25)] == [25, 5, 1, 1]


def test_in_a_crowd_chunks_are_wider(manual_clock: Any) -> None:
    """Each chunk costs about as much as twenty rows."""
    now, token = clock.now(), uuid.uuid4()
    few = [Claim("x", pk, token, now + timedelta(seconds=0.06 * pk)) for pk in range(12)]
    many = [Claim("x", pk, token, now + timedelta(seconds=0.06 * pk)) for pk in range(13)]
    assert {len(chunk) for chunk in chunks(few, 25)} == {1}
    assert [len(chunk) for chunk in chunks(many, 25)] == [4, 4, 4, 1]


def test_a_row_goes_at_the_moment_that_it_shares_with_another_one_also_with_one_claimed_for_that(
    handler: Handler, recorder: Recorder, manual_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_s = settings.NUMBERS.sweep_ahead_s
    first, next_one, beyond = row(ahead_s - 0.3), row(ahead_s - 0.2), row(ahead_s + 0.2)
    latest = clock.now() + timedelta(seconds=ahead_s + 0.2)
    together = replace(handler, moments=lambda _claims: {first.pk: latest, beyond.pk: latest})
    monkeypatch.setattr(due_registry, "_handlers", {together.label: together})
    sweep(run)
    assert recorder.seen == [[next_one.pk], [first.pk, beyond.pk]]
    assert manual_clock.now() >= latest


def test_rows_are_advanced_when_they_are_due_where_nobody_can_say_what_goes_together(
    handler: Handler, recorder: Recorder, manual_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_claims: Any) -> Any:
        raise RuntimeError("nobody foresaw this")

    broken = replace(handler, moments=fails)
    monkeypatch.setattr(due_registry, "_handlers", {broken.label: broken})
    made = row(0.3)
    sweep(run)
    assert recorder.rows == [made.pk]


def test_one_poisoned_row_does_not_hold_up_its_chunk(handler: Handler, recorder: Recorder, manual_clock: Any) -> None:
    rows = [row() for _ in range(5)]
    recorder.poison = {rows[2].pk}
    sweep(run)
    undone = WebhookEvent.objects.filter(due_at__isnull=False).values_list("pk", flat=True)
    assert list(undone) == [rows[2].pk]


def test_five_unexpected_errors_set_a_row_aside_for_ten_minutes(
    handler: Handler, recorder: Recorder, manual_clock: Any
) -> None:
    made = row()
    recorder.poison = {made.pk}
    for _ in range(POISON_AFTER):
        sweep(run)
        manual_clock.sleep(60)
    calls = len(recorder.seen)
    sweep(run)
    assert len(recorder.seen) == calls
    assert AuditEvent.objects.filter(kind="row_quarantined").count() == 1
    manual_clock.sleep(600)
    recorder.poison = set()
    sweep(run)
    assert WebhookEvent.objects.get(pk=made.pk).due_at is None


def test_a_row_that_must_switch_off_is_never_set_aside(recorder: Recorder, manual_clock: Any) -> None:
    stubborn = Handler(WebhookEvent, recorder, Queue.MONEY, lambda: LEASE_S, never_quarantine=lambda _row: True)
    made = row()
    recorder.poison = {made.pk}
    for _ in range(POISON_AFTER + 3):
        run(stubborn, claim(stubborn, limit=1))
        manual_clock.sleep(31)
    assert len(recorder.seen) == POISON_AFTER + 3


def test_a_dispatch_that_fails_leaves_the_rows_free_for_others(handler: Handler, manual_clock: Any) -> None:
    def broker_down(_handler: Handler, _chunk: list[Claim]) -> None:
        raise ConnectionError("refused")

    row()
    sweep(broker_down)
    assert len(claim(handler, limit=10)) == 1


def test_a_sweep_takes_everything_due_however_much_there_is(
    handler: Handler, recorder: Recorder, manual_clock: Any
) -> None:
    now = clock.now()
    WebhookEvent.objects.bulk_create(WebhookEvent(event_id=f"e{n}", kind="t", due_at=now) for n in range(450))
    assert sweep(run) == 450
    assert not WebhookEvent.objects.filter(due_at__isnull=False).exists()


@pytest.fixture
def hints() -> Iterator[list[tuple[str, list[int]]]]:
    carried: list[tuple[str, list[int]]] = []
    arrived = threading.Event()

    def publisher(label: str, pks: list[int]) -> None:
        carried.append((label, pks))
        arrived.set()

    wakeups.publish_with(publisher)
    carried_event[0] = arrived
    yield carried
    wakeups.publish_with(None)


carried_event: list[threading.Event] = [threading.Event()]


def test_a_wake_up_leaves_only_after_the_commit(hints: list[tuple[str, list[int]]], manual_clock: Any) -> None:
    with transaction.atomic():
        made = row()
        wake(made)
        assert not carried_event[0].wait(0.05)
    assert carried_event[0].wait(2)
    assert hints == [("sessions_app.webhookevent", [made.pk])]


def test_a_wake_up_of_a_transaction_that_failed_is_never_sent(
    hints: list[tuple[str, list[int]]], manual_clock: Any
) -> None:
    def fail() -> None:
        with transaction.atomic():
            wake(row())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not carried_event[0].wait(0.05)


def test_a_broker_that_raises_costs_a_hint_and_nothing_else(manual_clock: Any) -> None:
    raised = threading.Event()

    def broken(_label: str, _pks: list[int]) -> None:
        raised.set()
        raise ConnectionError("black hole")

    wakeups.publish_with(broken)
    try:
        wake(row())
        assert raised.wait(2)
    finally:
        wakeups.publish_with(None)


def let_go(watch: FallbackSweep) -> None:
    """End the only thread of the money pool, and the database connection that it opened."""
    watch._pools[Queue.MONEY].submit(lambda: connection.close()).result(5)
    watch._pools[Queue.MONEY].shutdown(wait=True)


def test_the_fallback_sweeps_only_while_nobody_else_does(
    handler: Handler, recorder: Recorder, manual_clock: Any
) -> None:
    watch = FallbackSweep("money", threads=1)
    made = row()
    beat("sweep")
    watch._look()
    assert recorder.seen == []
    manual_clock.sleep(4)
    watch._look()
    watch._pools[Queue.MONEY].submit(lambda: connection.close()).result(5)
    let_go(watch)
    assert recorder.rows == [made.pk]
    assert silent_for_s("worker:money") < 10


def test_claims_of_threads_never_overlap(handler: Handler) -> None:
    """Real time, real threads: on SQLite and PostgreSQL a row has one holder."""
    WebhookEvent.objects.bulk_create(WebhookEvent(event_id=f"c{n}", kind="t", due_at=clock.now()) for n in range(60))
    taken: list[int] = []
    lock = threading.Lock()
    start = threading.Barrier(4)

    def grab() -> None:
        start.wait()
        while mine := claim(handler, limit=7):
            with lock:
                taken.extend(one.pk for one in mine)
        connection.close()

    threads = [threading.Thread(target=grab) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(taken) == len(set(taken)) == 60


def test_without_a_broker_a_worker_runs_its_own_wake_ups_at_once(handler: Handler, recorder: Recorder) -> None:
    watch = FallbackSweep("money", threads=1)
    wakeups.run_here_with(watch._wake_here)
    try:
        made = row()
        wake(made)
        for _ in range(250):
            if recorder.rows == [made.pk]:
                break
            threading.Event().wait(0.02)
    finally:
        wakeups.run_here_with(None)
        let_go(watch)
    assert recorder.rows == [made.pk]


def test_a_worker_takes_the_wake_ups_of_its_own_queue_and_leaves_the_others(
    hints: list[tuple[str, list[int]]], handler: Handler, recorder: Recorder, manual_clock: Any
) -> None:
    watch, other = FallbackSweep("money", threads=1), FallbackSweep("relays", threads=1)
    made = row()
    assert other._take(handler.label, [made.pk]) == [made.pk]
    assert watch._take(handler.label, [made.pk]) == []
    let_go(watch)
    assert recorder.rows == [made.pk]


def test_a_worker_whose_threads_are_all_busy_leaves_wake_ups_to_the_broker(handler: Handler) -> None:
    watch, hold = FallbackSweep("money", threads=1), threading.Event()
    watch._pools[Queue.MONEY].submit(hold.wait)
    try:
        assert watch._take(handler.label, [-1]) == []  # waits for the thread: the only place is taken now
        assert watch._take(handler.label, [-2]) == [-2]
    finally:
        hold.set()
        let_go(watch)


def test_a_chunk_that_the_broker_delivers_twice_is_run_once(handler: Handler, recorder: Recorder) -> None:
    row()
    row()
    claims = claim(handler, limit=10)
    first, second = take(handler, claims), take(handler, claims)
    assert ([one.pk for one in first], second) == ([one.pk for one in claims], [])
    run(handler, first)
    assert WebhookEvent.objects.filter(due_at__isnull=False).count() == 0


def test_a_wake_up_of_many_rows_keeps_one_chunk_and_hands_out_the_others(
    handler: Handler, recorder: Recorder, manual_clock: Any
) -> None:
    rows = [row().pk for _ in range(2 * handler.chunk + 1)]
    handed: list[list[Claim]] = []
    wake_rows(handler.label, rows, lambda _handler, chunk: handed.append(chunk))
    assert [len(chunk) for chunk in recorder.seen] == [handler.chunk]
    assert sorted(map(len, handed)) == [1, handler.chunk]


def test_a_woken_row_that_somebody_is_just_writing_is_waited_for(
    handler: Handler, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, manual_clock: Any
) -> None:
    """Claiming passes over locked rows: without a second look only the next sweep would find it."""
    first, second = row().pk, row().pk
    looks: list[set[int]] = []

    def passing_over(of: Handler, *, limit: int, pks: Iterable[int]) -> list[Claim]:
        looks.append(set(pks))
        return claim(of, limit=limit, pks=set(pks) - ({second} if len(looks) < 3 else set()))

    monkeypatch.setattr("hygate.due.sweep.claim", passing_over)
    wake_rows(handler.label, [first, second])
    assert looks == [{first, second}, {second}, {second}]
    assert sorted(pk for chunk in recorder.seen for pk in chunk) == [first, second]


def test_a_woken_row_that_is_due_in_a_moment_by_our_clock_is_waited_for(
    handler: Handler, recorder: Recorder, manual_clock: Any
) -> None:
    """Who wrote it may have a clock a little ahead of ours; the next sweep would be a second away."""
    soon, later = row(0.1).pk, row(0.9).pk
    wake_rows(handler.label, [soon, later])
    assert recorder.seen == [[soon]]


def test_who_is_woken_for_one_row_takes_along_what_else_is_due(
    handler: Handler, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, manual_clock: Any
) -> None:
    """What has piled up goes in few chunks, oldest first; the row that was named goes in any case."""
    monkeypatch.setattr(due_registry, "_handlers", {handler.label: replace(handler, takes_along=True, chunk=3)})
    older, later = [row(-5).pk for _ in range(3)], row(60).pk
    named = row().pk
    wake_rows(handler.label, [named], run)
    assert sorted(map(sorted, recorder.seen)) == [older, [named]]
    assert WebhookEvent.objects.get(pk=later).due_at is not None


def test_a_woken_row_that_another_holds_is_not_waited_for(handler: Handler, recorder: Recorder) -> None:
    held = row().pk
    assert claim(handler, limit=1)
    wake_rows(handler.label, [held])
    assert recorder.seen == []
