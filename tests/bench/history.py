"""What a site that has been used for long has in its tables: written by the database itself, so that it takes seconds.

Import after ``Site.enter()``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import connection, transaction
from django.db.models import Model

from devices.models import RelayAttempt, RelayCommand
from hygate import guarding
from hygate.models import AuditEvent
from sessions_app.models import DeviceSession, Payment

OF_A_SESSION: Sequence[tuple[str, str, int, str]] = (
    # kind, actor, seconds after the start (from 3600 on: the end), what it says
    ("slot_held", "guest", -60, "{}"),
    ("checkout_opened", "hygate", -59, "{}"),
    ("payment_authorized", "hygate", -8, '{"by": "webhook", "amount_minor": 250, "method": "card"}'),
    ("session_grace", "hygate", -8, "{}"),
    ("session_starting", "hygate", -3, "{}"),
    ("relay_on_wanted", "hygate", -3, '{"reason": "start", "for_s": 3600}'),
    ("shelly_on_sent", "hygate", -3, '{"attempt": 1, "timer_s": 3630}'),
    ("shelly_on_success", "hygate", -3, '{"attempt": 1, "latency_ms": 182}'),
    ("relay_on_confirmed", "hygate", 0, '{"latency_ms": 143}'),
    ("session_running", "hygate", 0, "{}"),
    ("session_stopping", "hygate", 3600, "{}"),
    ("relay_off_wanted", "hygate", 3600, '{"reason": "end"}'),
    ("shelly_off_sent", "hygate", 3600, '{"attempt": 1}'),
    ("shelly_off_success", "hygate", 3600, '{"attempt": 1, "latency_ms": 175}'),
    ("relay_off_confirmed", "hygate", 3602, '{"latency_ms": 151}'),
    ("settlement", "hygate", 3602, '{"delivered_s": 3600, "charge_minor": 250, "back_minor": 0}'),
    ("session_completed", "hygate", 3602, "{}"),
    ("payment_captured", "hygate", 3605, '{"amount_minor": 250, "currency": "eur"}'),
)
FIRST_SEAL = 1_000_000
"""Above whatever the sealer has given already."""
APART = 1_000_000
"""Between the numbers of a row and of its copy."""


def tell_sessions() -> None:
    """The relay commands, attempts and sealed audit events of every session that had power."""
    _add_commands()
    _add_attempts()
    _add_events()
    tidy()


def _add_commands() -> None:
    _run(
        f"""INSERT INTO {_table(RelayCommand)} (account_id, device_id, "on", reason, wanted_by, state, on_for_s,
            next_at, attempts, in_round, rounds, reads, mark_before, created_at, first_sent_at, accepted_at,
            confirmed_at, closed_at, last_error)
        SELECT d.account_id, d.id, wish."on", CASE WHEN wish."on" THEN 'start' ELSE 'end' END, 'session:' || s.id,
            'confirmed', CASE WHEN wish."on" THEN s.duration_s END, s.started_at, 1, 1, 0, 1, '', wish.at, wish.at,
            wish.at, wish.at, wish.at, ''
        FROM {_table(DeviceSession)} s JOIN devices_device d ON d.id = s.device_id
        CROSS JOIN LATERAL (VALUES (true, s.started_at), (false, s.off_requested_at)) AS wish("on", at)
        WHERE wish.at IS NOT NULL ORDER BY wish.at"""
    )


def _add_attempts() -> None:
    _run(
        f"""INSERT INTO {_table(RelayAttempt)} (command_id, kind, number, sent_at, timer_s, together, outcome, error,
            answer, latency_ms)
        SELECT c.id, kind, 1, c.created_at, c.on_for_s, 1, 'ok', '', '', 180
        FROM {_table(RelayCommand)} c CROSS JOIN (VALUES ('send'), ('read')) AS every(kind) ORDER BY c.id"""
    )


def _add_events() -> None:
    """Sealed from the start: the sealer must not work beside the measurement. Their seals are none."""
    guarding.unprotect()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE told (kind text, actor text, after_s int, data jsonb) ON COMMIT DROP")
        cursor.executemany("INSERT INTO told VALUES (%s, %s, %s, %s)", OF_A_SESSION)
        cursor.execute(
            f"""INSERT INTO {_table(AuditEvent)} (at, kind, actor, session, payment, device, command, data, seq, hmac)
            SELECT s.started_at + after_s * interval '1 s', told.kind, told.actor, s.id, p.id, s.device_id, c.id,
                told.data, {FIRST_SEAL} + row_number() OVER (ORDER BY s.started_at + after_s * interval '1 s', s.id),
                repeat('0', 64)
            FROM {_table(DeviceSession)} s JOIN {_table(Payment)} p ON p.session_id = s.id
            JOIN told ON after_s < 3600 OR s.closed_at IS NOT NULL
            LEFT JOIN {_table(RelayCommand)} c ON c.wanted_by = 'session:' || s.id
                AND told.kind ~ '^(relay|shelly)_' AND c."on" = (told.kind ~ '_on_')
            ORDER BY s.started_at + after_s * interval '1 s', s.id"""
        )
    guarding.protect()


def repeat(times: int, *, days: int) -> None:
    """Every session that is over, with its payment, ``times`` more: each time ``days`` earlier."""
    back = f"copy * interval '{days} days'"
    number = f"id - copy * {APART}"
    own = "md5(id || '-' || copy)"
    _copy(
        DeviceSession,
        times,
        "closed_at IS NOT NULL",
        {"id": number, "secret_id": "gen_random_uuid()", "reference": f"left({own}, 12)", "token_hash": own},
        back,
    )
    _copy(
        Payment,
        times,
        "closed_at IS NOT NULL",
        {
            "id": number,
            "secret_id": "gen_random_uuid()",
            "ref": f"left({own}, 20)",
            "session_id": f"session_id - copy * {APART}",
            "checkout_key": own,
        },
        back,
    )
    tidy()


def _copy(model: type[Model], times: int, where: str, news: Mapping[str, str], back: str) -> None:
    """Every moment of a row is ``back`` earlier in its copy; numbers below zero keep the order of age."""
    fields = list(model._meta.local_concrete_fields)
    values = [
        news.get(field.attname)
        or (f'"{field.attname}" - {back}' if field.get_internal_type() == "DateTimeField" else f'"{field.attname}"')
        for field in fields
    ]
    columns = ", ".join(f'"{field.attname}"' for field in fields)
    _run(
        f"INSERT INTO {_table(model)} ({columns}) SELECT {', '.join(values)}"
        f" FROM {_table(model)}, generate_series(1, {times}) AS copy WHERE {where}"
    )


def tidy() -> None:
    """What PostgreSQL does by itself within minutes."""
    _run("VACUUM ANALYZE")


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _table(model: type[Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)
