"""Sending what guests asked for: one message each, tried again until a mail server took it, for a day at most.

The Message-ID is the row's: should a worker die between the server's yes and our note of it, the mailbox can tell that
the repeated message is the same. Addresses are in no log: of an error only its name is kept.
"""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.core.mail import EmailMessage
from django.db.models import F
from django.utils import translation

from hygate import audit, clock
from hygate.due import Claim, still_mine
from hygate.models import SiteSettings
from hygate.secrets import SecretUnreadable
from sessions_app.mail import services, texts
from sessions_app.mail.models import GuestMail, MailKind
from sessions_app.queue.models import Place

LEASE_S = 60.0
"""A dialogue with a slow server has a dozen steps, each with its own time-out."""
BACK_OFF_S = (5, 15, 30, 60, 120, 300, 900)
GIVE_UP_AFTER = timedelta(days=1)
log = structlog.get_logger(__name__)


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry for mails whose moment has come."""
    rows = GuestMail.objects.select_related("session__device__location", "entry__device__location")
    for mail in rows.filter(still_mine(claims), sent_at__isnull=True, given_up_at__isnull=True):
        _send(mail, clock.now())


def _send(mail: GuestMail, now: datetime) -> None:
    if not services.can_ask() or _is_too_late(mail, now):
        _give_up(mail, now, "too_late")
        return
    try:
        made = message(mail, now)
        if made is None:
            _give_up(mail, now, "nothing_to_say")
            return
        made.send()
    except (OSError, ValueError, SecretUnreadable) as error:  # every SMTP error is an OSError
        if _can_never_be_sent(error):
            _give_up(mail, now, type(error).__name__)
        else:
            _later(mail, now, error)
        return
    _close(mail, "mail_sent", sent_at=now, last_error="")


def _is_too_late(mail: GuestMail, now: datetime) -> bool:
    """A day has passed since its moment, or the turn that it would tell of is over."""
    if mail.kind == MailKind.TURN and mail.entry is not None:
        return mail.entry.place != Place.OFFERED
    since = mail.created_at
    if mail.kind == MailKind.DONE and mail.session is not None and mail.session.closed_at is not None:
        since = max(since, mail.session.closed_at)
    return now - since > GIVE_UP_AFTER


def _can_never_be_sent(error: Exception) -> bool:
    """The server said no for good, or the address makes no message: trying again would change nothing."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _said in error.recipients.values())
    return not isinstance(error, OSError)


def message(mail: GuestMail, now: datetime) -> EmailMessage | None:
    """The mail in the guest's language; None where there is nothing (any more) to tell."""
    with translation.override(mail.language):
        text = texts.of(mail, now)
        if text is None:
            return None
        site = SiteSettings.current()
        made = EmailMessage(
            subject=f"{text.subject} · {services.company()}",
            body=text.body,
            to=[mail.address],
            reply_to=[site.contact_email] if site.contact_email else None,
            headers={"Message-ID": mail.message_id, "Auto-Submitted": "auto-generated"},
        )
        for name, content, kind in text.files:
            made.attach(name, content, kind)
        return made


def _later(mail: GuestMail, now: datetime, error: Exception) -> None:
    log.warning("guest_mail.not_sent", mail=mail.pk, attempts=mail.attempts + 1, error=type(error).__name__)
    wait_s = BACK_OFF_S[min(mail.attempts, len(BACK_OFF_S) - 1)]
    GuestMail.objects.filter(pk=mail.pk, claim_token=mail.claim_token).update(
        due_at=now + clock.seconds(wait_s),
        claimed_until=None,
        attempts=F("attempts") + 1,
        last_error=type(error).__name__,
    )


def _give_up(mail: GuestMail, now: datetime, why: str) -> None:
    log.warning("guest_mail.given_up", mail=mail.pk, attempts=mail.attempts, error=why)
    _close(mail, "mail_given_up", given_up_at=now, last_error=why)


def _close(mail: GuestMail, event: str, **columns: object) -> None:
    """The address goes in the same statement."""
    if services.forget(GuestMail.objects.filter(pk=mail.pk, claim_token=mail.claim_token), **columns):
        audit.write(event, **services.about(mail))
