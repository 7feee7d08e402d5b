"""Telling the administrators about an alert: one mail for each opening, tried again until it was accepted.

All administrators stand on one message, so that a failure half-way never sends a second one to the first of them. Its
Message-ID follows from the alert: should a worker die between the server's yes and our note of it, mailboxes can tell
that the repeated message is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F

from hygate import clock
from hygate.alerts import close_alert, raise_alert
from hygate.due import Claim, released, still_mine
from hygate.models import Alert, Role, Severity, SiteSettings, User

LEASE_S = 60.0
"""A dialogue with a slow server has a dozen steps, each with its own time-out."""
TELL_AFTER = 3
BACK_OFF_S = (5, 15, 30, 60, 120, 300)
MAIL_KEY = "mail"
log = structlog.get_logger(__name__)


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry for alerts whose mail is due."""
    for alert in Alert.objects.filter(still_mine(claims), closed_at__isnull=True, mailed_at__isnull=True):
        _tell(alert)
    Alert.objects.filter(still_mine(claims)).exclude(closed_at__isnull=True, mailed_at__isnull=True).update(
        **released(None)
    )


def _tell(alert: Alert) -> None:
    to = recipients()
    if not to or not settings.SENDS_MAIL:
        _mine(alert, due_at=None)
        return
    try:
        message(alert, to).send()
    except OSError as error:  # every SMTP error is one
        _failed(alert, error)
        return
    _mine(alert, due_at=None, mailed_at=clock.now(), last_error="")
    close_alert(MAIL_KEY)


def _mine(alert: Alert, **columns: object) -> None:
    Alert.objects.filter(pk=alert.pk, claim_token=alert.claim_token).update(
        claimed_until=None, unexpected_errors=0, **columns
    )


def _failed(alert: Alert, error: OSError) -> None:
    """Try again later; after three failures the dashboard says that mails do not leave."""
    log.warning("alert.not_mailed", alert=alert.pk, attempts=alert.attempts + 1, error=type(error).__name__)
    wait_s = BACK_OFF_S[min(alert.attempts, len(BACK_OFF_S) - 1)]
    _mine(
        alert,
        due_at=clock.now() + clock.seconds(wait_s),
        attempts=F("attempts") + 1,
        last_error=type(error).__name__,
    )
    if alert.attempts + 1 >= TELL_AFTER:
        raise_alert(
            MAIL_KEY,
            kind="mail_failed",
            title="Alerts cannot be mailed",
            advice="The mail server does not take them. Check the HYGATE_SMTP_… variables; Hygate keeps trying.",
            severity=Severity.WARNING,
            help_anchor="mail-failed",
        )


def recipients() -> list[str]:
    """Every active administrator's address."""
    people = User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).exclude(email="")
    return list(people.order_by("pk").values_list("email", flat=True))


def message(alert: Alert, to: list[str]) -> EmailMessage:
    """What, where, what to do, and where to see it. Nothing in it opens a guest's page or holds a key."""
    company = " ".join(SiteSettings.current().company.split())
    word = "Error" if alert.severity == Severity.ERROR else "Warning"
    host = urlsplit(settings.BASE_URL).hostname or "hygate"
    lines = [
        alert.title,
        "",
        *([alert.advice, ""] if alert.advice else []),
        f"Since {alert.opened_at:%Y-%m-%d %H:%M:%S} UTC.",
        "",
        f"Dashboard: {settings.BASE_URL}/dashboard/",
    ]
    return EmailMessage(
        subject=f"[{company}] {word}: {alert.title}",
        body="\n".join(lines) + "\n",
        to=to,
        headers={"Message-ID": f"<alert-{alert.pk}-{int(alert.opened_at.timestamp())}@{host}>"},
    )
