"""Alerts: one open row for each key, told in the audit log, closed when healed, without secrets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.utils import IntegrityError

from hygate import alerts
from hygate.due import Claim, Handler, Queue, registry
from hygate.due.running import POISON_AFTER, run
from hygate.due.sweep import FallbackSweep, beat, sweep
from hygate.models import Alert, AuditEvent, Severity
from sessions_app.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)


def trouble(key: str = "pump", **fields: Any) -> Alert:
    said = {"kind": "pump", "title": "The pump stands still", "advice": "Start it.", "severity": Severity.WARNING}
    return alerts.raise_alert(key, **(said | fields))


def told() -> list[str]:
    return list(AuditEvent.objects.filter(kind__startswith="alert_").order_by("id").values_list("kind", flat=True))


def test_what_is_noticed_again_stays_one_alert_in_its_latest_words(manual_clock: Any) -> None:
    first = trouble()
    manual_clock.sleep(10)
    again = trouble(title="The pump is broken", severity=Severity.ERROR, device=7)
    assert again.pk == first.pk
    assert (again.title, again.severity, again.device, again.times) == ("The pump is broken", "error", 7, 2)
    assert (again.noticed_at - again.opened_at).total_seconds() == 10
    assert told() == ["alert_opened"]


def test_many_who_notice_at_once_open_one_alert() -> None:
    """Real threads on the real database; each in a transaction of its own, as those who notice are."""
    start = threading.Barrier(6)
    wrong: list[Exception] = []

    def notice() -> None:
        try:
            start.wait()
            with transaction.atomic():
                trouble()
        except Exception as error:
            wrong.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=notice) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert Alert.objects.get().times == 6
    assert told() == ["alert_opened"]


def test_losing_the_race_for_the_row_leaves_the_transaction_usable(
    monkeypatch: pytest.MonkeyPatch, manual_clock: Any
) -> None:
    """The other one's row appears between our look and our insert."""
    looked: list[str] = []
    notice: Callable[..., Any] = alerts._notice_again

    def late(key: str, fields: dict[str, Any]) -> Any:
        looked.append(key)
        if len(looked) == 1:
            Alert.objects.create(key=key, kind="pump", title="theirs", severity=Severity.WARNING)
            return None
        return notice(key, fields)

    monkeypatch.setattr(alerts, "_notice_again", late)
    with transaction.atomic():
        alert = trouble()
        WebhookEvent.objects.create(event_id="evt_after", kind="test")
    assert (alert.title, alert.times) == ("The pump stands still", 2)
    assert WebhookEvent.objects.count() == Alert.objects.count() == 1


def test_the_database_itself_refuses_a_second_open_row_for_a_key(manual_clock: Any) -> None:
    trouble()
    with pytest.raises(IntegrityError), transaction.atomic():
        Alert.objects.create(key="pump", kind="pump", title="twin", severity=Severity.WARNING)


def test_an_alert_of_a_transaction_that_failed_was_never_there(manual_clock: Any) -> None:
    with transaction.atomic():
        trouble()
        transaction.set_rollback(True)
    assert not Alert.objects.exists()
    assert told() == []


def test_healed_closes_and_trouble_after_that_opens_anew(manual_clock: Any) -> None:
    trouble(session=5, account=3)
    assert alerts.close_alert("pump")
    assert not alerts.close_alert("pump")
    closed = Alert.objects.get()
    assert closed.closed_at == manual_clock.now()
    assert closed.due_at is None
    trouble()
    assert Alert.objects.filter(closed_at__isnull=True).count() == 1
    assert told() == ["alert_opened", "alert_closed", "alert_opened"]
    event = AuditEvent.objects.get(kind="alert_closed")
    assert (event.session, event.data["account"], event.data["key"]) == (5, 3, "pump")


def test_a_prefix_closes_its_own_and_no_others(manual_clock: Any) -> None:
    for key in ("account:1:key", "account:1:silent", "account:12:key"):
        trouble(key)
    assert alerts.close_alerts("account:1:") == 2
    assert Alert.objects.get(closed_at__isnull=True).key == "account:12:key"


def test_acknowledging_tells_who_and_leaves_it_open(manual_clock: Any) -> None:
    alert = trouble()
    assert alerts.acknowledge(alert.pk, by="user:4")
    assert not alerts.acknowledge(alert.pk, by="user:5")
    alert.refresh_from_db()
    assert (alert.acknowledged_by, alert.closed_at) == ("user:4", None)
    assert AuditEvent.objects.get(kind="alert_acknowledged").actor == "user:4"


def test_no_key_and_no_guest_s_link_stays_in_an_alert(manual_clock: Any) -> None:
    alert = trouble(
        title="Refused: https://x/?auth_key=CANARY1",
        advice="See /session/abcdefghijklmnopqrstuvwxyz/\nand sk_live_CANARY2 " + "x" * 400,
    )
    alert.refresh_from_db()
    stored = f"{alert.title} {alert.advice} {AuditEvent.objects.get().data}"
    assert "CANARY" not in stored
    assert "abcdefghij" not in stored
    assert "\n" not in alert.advice
    assert len(alert.advice) == 300


class Poisoned:
    """An ``advance`` that raises until it is healed."""

    def __init__(self) -> None:
        self.ill = True

    def __call__(self, claims: Sequence[Claim]) -> None:
        if self.ill:
            raise RuntimeError("nobody foresaw this")


def test_work_set_aside_is_an_alert_until_it_goes_through(monkeypatch: pytest.MonkeyPatch, manual_clock: Any) -> None:
    advance = Poisoned()
    handler = Handler(WebhookEvent, advance, Queue.MONEY, lambda: 8.0)
    monkeypatch.setattr(registry, "_handlers", {handler.label: handler})
    row = WebhookEvent.objects.create(event_id="evt_1", kind="test", due_at=manual_clock.now())
    for _ in range(POISON_AFTER):
        assert not Alert.objects.exists()
        sweep(run)
        manual_clock.sleep(60)
    alert = Alert.objects.get()
    assert (alert.kind, alert.severity, alert.closed_at) == ("row_quarantined", "error", None)
    manual_clock.sleep(600)
    advance.ill = False
    sweep(run)
    alert.refresh_from_db()
    row.refresh_from_db()
    assert alert.closed_at is not None
    assert row.unexpected_errors == 0


def test_errors_with_a_success_between_them_are_not_in_a_row(
    monkeypatch: pytest.MonkeyPatch, manual_clock: Any
) -> None:
    advance = Poisoned()
    handler = Handler(WebhookEvent, advance, Queue.MONEY, lambda: 8.0)
    monkeypatch.setattr(registry, "_handlers", {handler.label: handler})
    WebhookEvent.objects.create(event_id="evt_1", kind="test", due_at=manual_clock.now())
    for ill in (True, True, True, False, True, True, True):
        advance.ill = ill
        sweep(run)
        manual_clock.sleep(60)
    assert not Alert.objects.exists()


def test_a_row_that_must_go_off_may_fail_for_days(manual_clock: Any) -> None:
    """The count and its power of two stay within what columns and floats hold."""
    handler = Handler(WebhookEvent, Poisoned(), Queue.MONEY, lambda: 8.0, never_quarantine=lambda _row: True)
    row = WebhookEvent.objects.create(
        event_id="evt_1", kind="test", due_at=manual_clock.now(), unexpected_errors=32_767
    )
    from hygate.due.claims import claim

    run(handler, claim(handler, limit=1))
    row.refresh_from_db()
    assert row.due_at is not None
    assert (row.due_at - manual_clock.now()).total_seconds() == 30
    assert not Alert.objects.exists()


@pytest.fixture
def watch(settings: Any, monkeypatch: pytest.MonkeyPatch, manual_clock: Any) -> FallbackSweep:
    settings.BROKER_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(registry, "_handlers", {})
    return FallbackSweep("money", threads=1)


def test_a_silent_scheduler_is_told_of_and_its_return_too(watch: FallbackSweep, manual_clock: Any) -> None:
    beat("sweep")
    for _ in range(29):
        manual_clock.sleep(1)
        watch._look()
    assert not Alert.objects.exists()
    for _ in range(3):
        manual_clock.sleep(1)
        watch._look()
    alert = Alert.objects.get()
    assert (alert.kind, alert.severity, alert.times) == ("sweep_silent", "error", 1)
    beat("sweep")
    watch._look()
    alert.refresh_from_db()
    assert alert.closed_at is not None


def test_a_worker_that_has_just_started_knows_of_no_silence(watch: FallbackSweep, manual_clock: Any) -> None:
    """After a night switched off, the last heartbeat is hours old and beat is about to start."""
    watch._look()
    assert not Alert.objects.exists()


def test_without_a_broker_nobody_misses_beat(watch: FallbackSweep, settings: Any, manual_clock: Any) -> None:
    settings.BROKER_URL = ""
    for _ in range(4):
        manual_clock.sleep(20)
        watch._look()
    assert not Alert.objects.exists()
