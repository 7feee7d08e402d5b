"""Triggers that make the audit log append-only in the database itself, also for whoever owns the tables' rows.

They let a row in without a seal, let it be sealed once, and refuse everything else. They are no migration: tests empty
their tables, and SQLite forgets a table's triggers when a migration rebuilds it. So ``manage.py protect_audit`` runs
after every ``migrate``.
"""

from __future__ import annotations

from django.db import connection, transaction

from hygate.models import AuditEvent

REFUSAL = "the audit log is append-only"
SEAL = ("seq", "hmac")
NAME = "hygate_audit"


def protect() -> None:
    """Install the triggers, in the place of those that are there."""
    _run([*_dropping(), *_creating()])


def unprotect() -> None:
    _run(_dropping())


def is_protected() -> bool:
    """Whether all of them stand and none is switched off."""
    if connection.vendor == "sqlite":
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE %s AND tbl_name = %s"
    else:
        query = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE %s AND tgrelid = %s::regclass AND tgenabled <> 'D'"
    with connection.cursor() as cursor:
        cursor.execute(query, [f"{NAME}_%", _table()])
        return int(cursor.fetchone()[0]) == len(_dropping())


def _table() -> str:
    return AuditEvent._meta.db_table


def _run(statements: list[str]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _dropping() -> list[str]:
    if connection.vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {NAME}_{event}" for event in ("insert", "update", "delete")]
    return [f"DROP TRIGGER IF EXISTS {NAME}_{event} ON {_table()}" for event in ("rows", "truncate")]


def _creating() -> list[str]:
    return _sqlite() if connection.vendor == "sqlite" else _postgresql()


def _sqlite() -> list[str]:
    """``INSERT OR REPLACE`` deletes without asking the delete trigger: an id that is taken is refused on insert."""
    table = _table()
    columns = [field.column for field in AuditEvent._meta.local_concrete_fields if field.column not in SEAL]
    unchanged = " AND ".join(f'NEW."{column}" IS OLD."{column}"' for column in columns)
    sealing = f"OLD.seq IS NULL AND NEW.seq IS NOT NULL AND NEW.hmac IS NOT NULL AND {unchanged}"
    unsealed = "NEW.seq IS NULL AND NEW.hmac IS NULL"
    refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    taken = f"EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)"  # noqa: S608 - our own table's name
    return [
        f"CREATE TRIGGER {NAME}_insert BEFORE INSERT ON {table} WHEN NOT ({unsealed}) OR {taken} {refuse}",
        f"CREATE TRIGGER {NAME}_update BEFORE UPDATE ON {table} WHEN NOT ({sealing}) {refuse}",
        f"CREATE TRIGGER {NAME}_delete BEFORE DELETE ON {table} {refuse}",
    ]


def _postgresql() -> list[str]:
    table, guard = _table(), f"EXECUTE FUNCTION {NAME}_guard()"
    old, new = (f"(to_jsonb({row}) - '{SEAL[0]}' - '{SEAL[1]}')" for row in ("OLD", "NEW"))
    return [
        f"""CREATE OR REPLACE FUNCTION {NAME}_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                IF NEW.seq IS NULL AND NEW.hmac IS NULL THEN RETURN NEW; END IF;
            ELSIF TG_OP = 'UPDATE' THEN
                IF OLD.seq IS NULL AND NEW.seq IS NOT NULL AND NEW.hmac IS NOT NULL
                    AND {new} = {old}
                THEN RETURN NEW; END IF;
            END IF;
            RAISE EXCEPTION '{REFUSAL}';
        END $$""",
        f"CREATE TRIGGER {NAME}_rows BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW {guard}",
        f"CREATE TRIGGER {NAME}_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {guard}",
    ]
