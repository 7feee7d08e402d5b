"""Reports: made by guests in one tap, seen, answered and closed by staff. Each open one is an alert until then."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q

from devices.models import Device
from hygate import alerts, audit, clock
from hygate.models import Severity, User
from hygate.trying_again import made_again
from sessions_app.models import DeviceSession, ProblemReport
from sessions_app.problems import evidence
from sessions_app.problems.models import Cause
from sessions_app.services import REFERENCE_ALPHABET, actor

ABOUT_A_SESSION = (Cause.NO_POWER, Cause.TOO_EARLY, Cause.MACHINE, Cause.AMOUNT, Cause.OTHER)
MOST = 15
"""Reports of one session, closed ones included: nobody has more to say with one tap each."""
LENGTHS = (4, 4, 4, 4, 5, 6, 7)
"""Characters of a reference: four, and more only where those drawn are taken."""
KIND = "problem_report"


class TooMany(Exception):
    """The session has as many reports as one session can have."""


def report(session: DeviceSession, cause: Cause, *, language: str) -> ProblemReport:
    """The guest's report about ``session``; telling the same again while it is open leads to the same report.

    Raises ``TooMany``.
    """

    def make(now: datetime) -> ProblemReport:
        if ProblemReport.objects.filter(session=session).count() >= MOST:
            raise TooMany
        return _create(
            session=session,
            device=session.device,
            cause=cause,
            language=language,
            evidence=evidence.of_session(session, now),
            created_at=now,
        )

    return _once(_told(session, cause), make)


def open_report(session: DeviceSession, cause: Cause) -> ProblemReport | None:
    """The report that says this of ``session`` already, while it is open."""
    return ProblemReport.objects.filter(_told(session, cause)).first()


def _told(session: DeviceSession, cause: Cause) -> Q:
    return Q(session=session, cause=cause, closed_at=None)


def report_label(code: str, device: Device | None, *, language: str) -> ProblemReport:
    """Somebody finds the label ``code`` odd; ``device`` is what it stands for, where we know it. Once while open."""

    def make(now: datetime) -> ProblemReport:
        return _create(device=device, code=code[:40], cause=Cause.STICKER, language=language, created_at=now)

    return _once(Q(session=None, code=code[:40], cause=Cause.STICKER, closed_at=None), make)


def _once(same: Q, make: Callable[[datetime], ProblemReport]) -> ProblemReport:
    """The open report that ``same`` finds, or the one that ``make`` makes. Two taps at once meet at the constraint."""

    def transact() -> ProblemReport:
        with transaction.atomic():
            return ProblemReport.objects.filter(same).first() or make(clock.now())

    try:
        return made_again(transact)
    except IntegrityError:
        return ProblemReport.objects.get(same)


def _create(**fields: object) -> ProblemReport:
    made = ProblemReport.objects.create(reference=_reference(), **fields)
    audit.write("problem_reported", actor="guest", **_about(made))
    _raise(made)
    return made


def _reference() -> str:
    for length in LENGTHS:
        drawn = "P-" + "".join(secrets.choice(REFERENCE_ALPHABET) for _ in range(length))
        if not ProblemReport.objects.filter(reference=drawn).exists():
            return drawn
    return "P-" + "".join(secrets.choice(REFERENCE_ALPHABET) for _ in range(10))


def add_note(one: ProblemReport, note: str) -> bool:
    """The guest adds a few words, once, while somebody still reads them; answers whether they were taken."""
    with transaction.atomic():
        open_ = ProblemReport.objects.filter(pk=one.pk, note="", answered_at=None, closed_at=None)
        if not note or not open_.update(note=note[:500]):
            return False
        audit.write("problem_noted", actor="guest", **_about(one))
    return True


# -- what staff does


def see(one: ProblemReport, user: User) -> bool:
    """Somebody has read it; the guest's page says so. The alert stays until it is answered or closed."""
    return _staff(one, user, "problem_seen", Q(seen_at=None), seen_at=clock.now())


def answer(one: ProblemReport, user: User, text: str) -> bool:
    """The guest reads ``text`` under the same link; a later answer replaces an earlier one."""
    now = clock.now()
    return _staff(
        one, user, "problem_answered", Q(), answer=text, answered_at=now, answered_by=user, seen_at=one.seen_at or now
    )


def close(one: ProblemReport, user: User) -> bool:
    """Nothing is left to do or to say."""
    now = clock.now()
    return _staff(one, user, "problem_closed", Q(), closed_at=now, seen_at=one.seen_at or now)


def _staff(one: ProblemReport, user: User, event: str, when: Q, **columns: object) -> bool:
    with transaction.atomic():
        if not ProblemReport.objects.filter(when, pk=one.pk, closed_at=None).update(**columns):
            return False
        audit.write(event, **{**_about(one), "actor": actor(user)})
        if event != "problem_seen":
            alerts.close_alert(_key(one), by=actor(user))
    return True


# -- the alert


def _key(one: ProblemReport) -> str:
    return f"problem:{one.pk}"


def report_of(alert_key: str) -> int | None:
    """The report that an alert is about."""
    name, _, number = alert_key.partition(":")
    return int(number) if name == "problem" and number.isdigit() else None


def _raise(one: ProblemReport) -> None:
    where = one.device.name if one.device is not None else f"label {one.code}"
    about = f" (session {one.session.reference})" if one.session is not None else ""
    alerts.raise_alert(
        _key(one),
        kind=KIND,
        title=f"A guest reports: {Cause(one.cause).label}, {where}",
        advice=f"Report {one.reference}{about}. Look at it under Sessions, Problems; what you answer, the guest reads.",
        severity=Severity.WARNING,
        help_anchor="problem-report",
        session=one.session_id,
        device=one.device_id,
    )


def _about(one: ProblemReport) -> dict[str, object]:
    return {"session": one.session_id, "device": one.device_id, "report": one.reference, "cause": str(one.cause)}
