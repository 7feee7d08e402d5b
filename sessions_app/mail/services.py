"""Asking for an e-mail, and saying that its moment has come. The engine sends it (``mail.sending``)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from enum import Enum
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet
from django.utils.crypto import salted_hmac

from hygate import audit, clock
from hygate.due import wake
from hygate.models import SiteSettings
from hygate.trying_again import made_again
from sessions_app.mail.models import GuestMail, MailKind
from sessions_app.models import DeviceSession, QueueEntry
from sessions_app.queue.models import Place
from sessions_app.states import TERMINAL

MOST = 3
"""Mails of one kind about one session or one place in line, however they ended."""


class Asked(Enum):
    """What became of asking. ``ALREADY``: the same address has asked for the same and is still to be written to."""

    YES = "yes"
    ALREADY = "already"
    TOO_MANY = "too_many"
    NO_MAIL = "no_mail"


def can_ask() -> bool:
    """Whether a form for an address may be shown at all."""
    return bool(settings.SENDS_MAIL)


def ask(
    kind: MailKind,
    *,
    address: str,
    language: str,
    session: DeviceSession | None = None,
    entry: QueueEntry | None = None,
) -> Asked:
    """Have one mail sent about ``session`` or ``entry`` (exactly one): now, or when its moment comes.

    ``address`` is valid already, ``language`` one of the site's. The row that it is about is locked, so that a session
    that ends in the same moment is seen here, or sees the mail.
    """
    assert (session is None) != (entry is None), "a mail is about one thing"
    if not can_ask():
        return Asked.NO_MAIL
    return made_again(lambda: _ask(kind, address.strip(), language, session, entry))


def _ask(kind: MailKind, address: str, language: str, session: DeviceSession | None, entry: QueueEntry | None) -> Asked:
    with transaction.atomic():
        now, whose = clock.now(), {"session": session, "entry": entry}
        over = _is_its_moment(kind, session, entry)
        mails = GuestMail.objects.filter(kind=kind, **whose)
        address_hash = hashed(address)
        if waiting(mails).filter(address_hash=address_hash).exists():
            return Asked.ALREADY
        if mails.count() >= MOST:
            return Asked.TOO_MANY
        mail = GuestMail(
            kind=kind,
            address=address,
            address_hash=address_hash,
            language=language,
            message_id=_message_id(),
            created_at=now,
            due_at=now if over else None,
            **whose,
        )
        try:
            with transaction.atomic():
                mail.save(force_insert=True)
        except IntegrityError:
            return Asked.ALREADY
        audit.write("mail_asked", actor="guest", **about(mail))
        if over:
            wake(mail)
    return Asked.YES


def _is_its_moment(kind: MailKind, session: DeviceSession | None, entry: QueueEntry | None) -> bool:
    """Locks what the mail is about, and says whether there is nothing left to wait for.

    That also goes for a place in line that is over: the mail then finds so, and the address is forgotten.
    """
    if session is not None:
        state = DeviceSession.objects.select_for_update().values_list("state", flat=True).get(pk=session.pk)
        return kind == MailKind.RECEIPT or state in TERMINAL
    assert entry is not None
    return QueueEntry.objects.select_for_update().values_list("place", flat=True).get(pk=entry.pk) != Place.WAITING


def hashed(address: str) -> str:
    """Tells one address from another and cannot be turned back without this site's key."""
    return salted_hmac("guest-mail", address.lower(), algorithm="sha256").hexdigest()


def _message_id() -> str:
    return f"<{uuid.uuid4().hex}@{urlsplit(settings.BASE_URL).hostname or 'hygate'}>"


def about(mail: GuestMail) -> dict[str, object]:
    """What the audit log says of a mail: never whom it goes to."""
    device = mail.session.device_id if mail.session is not None else mail.entry.device_id if mail.entry else None
    return {"session": mail.session_id, "device": device, "mail": mail.kind}


# -- the moment has come, or never will


def due_when_over(sessions: Collection[int], now: datetime) -> None:
    """These have just become terminal: whoever asked to be told is told. One UPDATE, for it stands in the move."""
    _now_due(GuestMail.objects.filter(session__in=sessions, kind=MailKind.DONE), now)


def due_for_turn(entry_id: int, now: datetime) -> None:
    """The device is kept for this guest now. Called inside the offer's transaction; one UPDATE."""
    _now_due(of_turn(entry_id), now)


def not_yet(entry_id: int) -> None:
    """The offer was none: a mail that did not leave in time waits for the next one."""
    waiting(of_turn(entry_id)).update(due_at=None, claimed_until=None, claim_token=uuid.uuid4())


def never_mind(entry_id: int, now: datetime) -> None:
    """The guest left the line, or came before the mail did: nothing is sent, and the address is forgotten."""
    forget(waiting(of_turn(entry_id)), given_up_at=now)


def of_turn(entry_id: int | OuterRef) -> QuerySet[GuestMail]:
    return GuestMail.objects.filter(entry=entry_id, kind=MailKind.TURN)


def waiting(mails: QuerySet[GuestMail]) -> QuerySet[GuestMail]:
    """Those that are still to be sent."""
    return mails.filter(sent_at__isnull=True, given_up_at__isnull=True)


def _now_due(mails: QuerySet[GuestMail], now: datetime) -> None:
    waiting(mails).filter(due_at__isnull=True).update(due_at=now, claimed_until=None, claim_token=uuid.uuid4())


def forget(mails: QuerySet[GuestMail], **columns: object) -> int:
    """Close mails: whom they went to is not needed any more. Answers how many there were."""
    closed = {"due_at": None, "claimed_until": None, "address": "", "address_hash": ""}
    return mails.update(**closed, **columns)


def company() -> str:
    """Who writes, on one line: it stands in subjects."""
    return " ".join(SiteSettings.current().company.split())
