"""What a person must do: one open row for each key, told once by e-mail, closed by itself when it has healed.

Call these inside the transaction that notices the trouble, after everything else in it: an alert's row is the last to
be locked. ``title`` and ``advice`` are read by people on the dashboard and in mails; keys and guests' links are taken
out of them, but names of guests do not belong there in the first place.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.utils import IntegrityError

from hygate import audit, clock
from hygate.due import wake
from hygate.logs import scrub
from hygate.models import Alert, Severity

NEVER_MAILED = ("mail_failed",)
"""Kinds that a mail cannot tell of."""
TRIES = 3


def raise_alert(
    key: str,
    *,
    kind: str,
    title: str,
    advice: str,
    severity: str,
    help_anchor: str = "",
    session: int | None = None,
    payment: int | None = None,
    device: int | None = None,
    account: int | None = None,
    blocks_completion: bool = False,
) -> Alert:
    """Open the alert called ``key``; while it is open already, only note that it was noticed again, in today's words.

    Two who notice the same at once meet at the constraint ``one_open_alert``: the second one finds the first one's row.
    """
    fields: dict[str, Any] = {
        "kind": kind,
        "title": _one_line(title, 160),
        "advice": _one_line(advice, 300),
        "severity": Severity(severity),
        "help_anchor": help_anchor,
        "session": session,
        "payment": payment,
        "device": device,
        "account": account,
        "blocks_completion": blocks_completion,
    }
    with transaction.atomic():
        for tries_left in reversed(range(TRIES)):
            noticed = _notice_again(key, fields)
            if noticed is not None:
                return noticed
            try:
                with transaction.atomic():
                    return _open(key, fields)
            except IntegrityError:
                if not tries_left:
                    raise
    raise AssertionError("unreachable")


def _one_line(text: str, most: int) -> str:
    """Plain words for a subject line and a column: no secret, no line break, never too long."""
    line = " ".join(scrub(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _notice_again(key: str, fields: dict[str, Any]) -> Alert | None:
    now = clock.now()
    rows = _open_rows().filter(key=key)
    if not rows.update(**fields, noticed_at=now, times=F("times") + 1):
        return None
    if fields["severity"] == Severity.ERROR:
        rows.filter(mailed_at__isnull=True, attempts=0, due_at__gt=now).update(due_at=now)
    return rows.get()


def _open(key: str, fields: dict[str, Any]) -> Alert:
    now = clock.now()
    wait_s = 0 if fields["severity"] == Severity.ERROR else settings.NUMBERS.alert_mail_after_s
    mail_at = None if fields["kind"] in NEVER_MAILED else now + clock.seconds(wait_s)
    alert = Alert.objects.create(key=key, opened_at=now, noticed_at=now, due_at=mail_at, **fields)
    _write("alert_opened", alert)
    if not wait_s and mail_at is not None:
        wake(alert)
    return alert


def close_alert(key: str, *, by: str = "hygate") -> bool:
    """It has healed, or ``by`` says that it is done; answers whether it was open. Its mail is not sent any more."""
    return bool(_close(_open_rows().filter(key=key), by))


def close_alerts(prefix: str, *, by: str = "hygate") -> int:
    """Close every open alert whose key starts with ``prefix``."""
    return _close(_open_rows().filter(key__startswith=prefix), by)


def close_by_hand(pk: int, *, by: str) -> bool:
    """A person says that it is done. What is still wrong opens a new one as soon as it is noticed again."""
    return bool(_close(_open_rows().filter(pk=pk), by))


def acknowledge(pk: int, *, by: str) -> bool:
    """Somebody has seen it and looks after it; the alert stays open until it has healed."""
    with transaction.atomic():
        rows = _open_rows().filter(pk=pk, acknowledged_at__isnull=True)
        if not rows.update(acknowledged_at=clock.now(), acknowledged_by=by):
            return False
        _write("alert_acknowledged", Alert.objects.get(pk=pk), by=by)
    return True


def _close(rows: QuerySet[Alert], by: str) -> int:
    """Looks before it locks: most calls find nothing to close."""
    if not rows.exists():
        return 0
    with transaction.atomic():
        found = list(rows.select_for_update().order_by("pk"))
        now = clock.now()
        Alert.objects.filter(pk__in=[alert.pk for alert in found]).update(
            closed_at=now, due_at=None, claimed_until=None
        )
        for alert in found:
            _write("alert_closed", alert, by=by, open_s=int((now - alert.opened_at).total_seconds()))
    return len(found)


def _open_rows() -> QuerySet[Alert]:
    return Alert.objects.filter(closed_at__isnull=True)


def _write(event: str, alert: Alert, *, by: str = "hygate", **data: Any) -> None:
    """The audit event; ``account`` has no column there."""
    if alert.account is not None:
        data["account"] = alert.account
    audit.write(
        event,
        actor=by,
        session=alert.session,
        payment=alert.payment,
        device=alert.device,
        alert=alert.pk,
        key=alert.key,
        alert_kind=alert.kind,
        severity=str(alert.severity),
        title=alert.title,
        **data,
    )
