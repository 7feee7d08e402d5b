"""The sealed audit log: gapless, soon, outside of business transactions; every way to falsify it is named."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.db.models import F

from hygate import audit, sealing
from hygate.due.running import run
from hygate.due.sweep import sweep
from hygate.models import AuditEvent, Heartbeat
from hygate.verifying import verify

pytestmark = pytest.mark.django_db(transaction=True)


def write(number: int) -> None:
    audit.write_all(audit.event("session_running", session=n, seconds=n, note=f"Wäsche {n}") for n in range(number))


def sealed_log(number: int = 5) -> list[int]:
    """A log of ``number`` sealed events; answers their ids in the order of their seals."""
    write(number)
    sealing.seal()
    return list(AuditEvent.objects.order_by("seq").values_list("pk", flat=True))


def test_a_sweep_seals_what_was_written_before_it_without_a_gap(manual_clock: Any) -> None:
    for _ in range(3):
        write(4)
        sweep(run)
        assert not AuditEvent.objects.filter(seq__isnull=True).exists()
        manual_clock.sleep(1)
    assert list(AuditEvent.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 13))
    assert verify().ok


def test_a_burst_is_sealed_in_batches_of_five_hundred(manual_clock: Any) -> None:
    write(1100)
    assert [sealing.seal() for _ in range(4)] == [500, 500, 100, 0]
    report = verify()
    assert (report.ok, report.sealed) == (True, 1100)


def test_sealing_goes_on_after_a_chain_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, manual_clock: Any
) -> None:
    """What goes wrong in the sealer is no reason to stop sweeping; nothing of the broken batch stays behind."""

    def broken(_sealed: object) -> None:
        raise RuntimeError("no room left")

    write(2)
    with monkeypatch.context() as patched:
        patched.setattr(sealing, "_write", broken)
        sweep(run)
    assert not AuditEvent.objects.filter(seq__isnull=False).exists()
    sweep(run)
    assert verify().sealed == 2


def test_sealing_refuses_to_be_part_of_a_business_transaction(manual_clock: Any) -> None:
    write(1)
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        sealing.seal()
    assert AuditEvent.objects.filter(seq__isnull=True).count() == 1


def test_a_writer_s_event_is_unsealed_until_its_transaction_is_over_and_may_come_late(manual_clock: Any) -> None:
    """On PostgreSQL a long transaction's event has the smaller id and the later seal; the chain has no gap."""
    if connection.vendor == "sqlite":  # one writer at a time: there is nothing to overtake
        sealed_log(2)
        assert verify().ok
        return
    wrote, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            audit.write("slow")
            wrote.set()
            may_commit.wait(10)
        connections.close_all()

    writer = threading.Thread(target=slow)
    writer.start()
    assert wrote.wait(10)
    audit.write("quick")
    assert sealing.seal() == 1
    may_commit.set()
    writer.join(10)
    assert sealing.seal() == 1
    assert list(AuditEvent.objects.order_by("seq").values_list("kind", flat=True)) == ["quick", "slow"]
    assert AuditEvent.objects.get(kind="slow").pk < AuditEvent.objects.get(kind="quick").pk
    assert verify().ok


def test_sealers_at_once_make_one_chain() -> None:
    write(60)
    start = threading.Barrier(4)
    wrong: list[Exception] = []

    def one() -> None:
        try:
            start.wait()
            for _ in range(5):
                sealing.seal()
        except Exception as error:
            wrong.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    report = verify()
    assert (report.ok, report.sealed) == (True, 60)


def test_seals_depend_on_the_key(settings: Any, manual_clock: Any) -> None:
    sealed_log()
    settings.AUDIT_KEY = "another"
    fault = verify().fault
    assert fault is not None
    assert (fault.what, fault.seq) == ("changed", 1)
    assert "HYGATE_AUDIT_KEY" in fault.says


CHANGES: dict[str, dict[str, Any]] = {
    "kind": {"kind": "session_completed"},
    "actor": {"actor": "user:9"},
    "at": {"at": F("at") + timedelta(seconds=1)},
    "session": {"session": 99},
    "payment": {"payment": 1},
    "device": {"device": 1},
    "command": {"command": 1},
    "data": {"data": {"seconds": 1}},
    "hmac": {"hmac": "0" * 64},
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_column_is_named(column: str, manual_clock: Any) -> None:
    rows = sealed_log()
    AuditEvent.objects.filter(pk=rows[2]).update(**CHANGES[column])
    fault = verify().fault
    assert fault is not None
    assert (fault.what, fault.seq, fault.row) == ("changed", 3, rows[2])


def test_deleted_rows_are_named(manual_clock: Any) -> None:
    rows = sealed_log()
    AuditEvent.objects.filter(pk__in=rows[1:3]).delete()
    fault = verify().fault
    assert fault is not None
    assert (fault.what, fault.seq) == ("deleted", 2)
    assert "Rows 2 to 3 are missing" in fault.says


def test_a_row_out_of_its_place_is_named(manual_clock: Any) -> None:
    rows = sealed_log()
    for pk, seq in ((rows[1], 90), (rows[3], 2), (rows[1], 4)):
        AuditEvent.objects.filter(pk=pk).update(seq=seq)
    fault = verify().fault
    assert fault is not None
    assert (fault.what, fault.seq, fault.row) == ("moved", 2, rows[1])


def test_a_row_whose_seal_was_taken_away_leaves_a_gap(manual_clock: Any) -> None:
    rows = sealed_log()
    AuditEvent.objects.filter(pk=rows[1]).update(seq=None, hmac=None)
    sealing.seal()
    fault = verify().fault
    assert fault is not None
    assert (fault.what, fault.seq) == ("deleted", 2)


def test_a_cut_tail_is_named_also_after_the_log_went_on(manual_clock: Any) -> None:
    rows = sealed_log()
    AuditEvent.objects.filter(pk__in=rows[3:]).delete()
    fault = verify().fault
    assert fault is not None
    assert (fault.what, fault.seq) == ("cut", 4)
    write(2)
    sealing.seal()
    fault = verify().fault
    assert fault is not None
    assert (fault.what, fault.seq) == ("deleted", 4)


def test_a_sealer_that_lost_its_memory_goes_on_from_the_table(manual_clock: Any) -> None:
    sealed_log()
    Heartbeat.objects.all().delete()
    write(1)
    sealing.seal()
    assert verify().sealed == 6


def test_rows_that_wait_too_long_for_a_seal_are_reported(manual_clock: Any) -> None:
    sealed_log(2)
    write(3)
    assert verify().ok
    manual_clock.sleep(61)
    report = verify()
    assert (report.ok, report.fault, report.late) == (False, None, 3)
    with pytest.raises(CommandError, match="3 rows have waited more than a minute"):
        command()


def command(*arguments: str) -> str:
    said = StringIO()
    call_command("verify_audit", *arguments, stdout=said)
    return said.getvalue()


def test_the_exported_head_finds_a_tail_cut_that_the_database_no_longer_knows_of(
    tmp_path: Path, manual_clock: Any
) -> None:
    rows, head = sealed_log(), tmp_path / "head.json"
    assert "5 rows, each as it was sealed." in command("--export-head", str(head))
    assert "5 rows" in command("--head", str(head))
    AuditEvent.objects.filter(pk__in=rows[3:]).delete()
    Heartbeat.objects.filter(name="sealer").delete()
    assert "3 rows" in command()
    with pytest.raises(CommandError, match="The end was cut off: rows 4 to 5 are missing"):
        command("--head", str(head))


def test_the_exported_head_finds_a_log_that_was_sealed_anew(tmp_path: Path, manual_clock: Any) -> None:
    """Somebody with the key can make another perfect chain, but not the one of which a head was kept elsewhere."""
    rows, head = sealed_log(), tmp_path / "head.json"
    command("--export-head", str(head))
    AuditEvent.objects.filter(pk=rows[2]).update(kind="nothing_happened")
    AuditEvent.objects.update(seq=None, hmac=None)
    Heartbeat.objects.filter(name="sealer").delete()
    sealing.seal()
    assert "5 rows" in command()
    with pytest.raises(CommandError, match="Row 5 is not the one of the exported head"):
        command("--head", str(head))


def test_json_for_scripts_says_the_same_and_ends_with_one(capsys: Any, manual_clock: Any) -> None:
    rows = sealed_log()
    found = json.loads(command("--json"))
    assert (found["ok"], found["sealed"], found["fault"], found["protected"]) == (True, 5, None, False)
    AuditEvent.objects.filter(pk=rows[0]).update(actor="guest")
    with pytest.raises(SystemExit) as end:
        call_command("verify_audit", "--json")
    assert end.value.code == 1
    assert json.loads(capsys.readouterr().out)["fault"]["what"] == "changed"


def test_no_head_is_exported_of_a_log_that_is_wrong(tmp_path: Path, manual_clock: Any) -> None:
    rows, head = sealed_log(), tmp_path / "head.json"
    AuditEvent.objects.filter(pk=rows[0]).update(actor="guest")
    with pytest.raises(CommandError):
        command("--export-head", str(head))
    assert not head.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seq": "x", "hmac": ""}'])
def test_a_file_that_is_no_head_is_refused_with_a_sentence(text: str, tmp_path: Path, manual_clock: Any) -> None:
    (tmp_path / "head.json").write_text(text)
    with pytest.raises(CommandError, match="is no exported head"):
        command("--head", str(tmp_path / "head.json"))


@pytest.mark.parametrize("data", [{}, {"a": 1.5, "ü": [None, True, "\u2028", {"b": 10**15}]}, {"z": 0.1, "a": -0.0}])
def test_any_json_seals_and_verifies(data: dict[str, Any], manual_clock: Any) -> None:
    AuditEvent.objects.create(kind="odd", data=data)
    sealing.seal()
    assert verify().ok


def test_a_purchase_ends_up_sealed_whole(world: Any) -> None:
    session = world.buy()
    world.tell(session)
    world.go(60)
    sweep(run)
    assert AuditEvent.objects.filter(kind="session_completed", seq__isnull=False).count() == 1
    report = verify()
    assert report.ok
    assert report.sealed == AuditEvent.objects.count()


def test_idle_seconds_take_no_lock(manual_clock: Any, django_assert_num_queries: Callable[[int], Any]) -> None:
    sealed_log()
    with django_assert_num_queries(1):
        assert sealing.seal() == 0
