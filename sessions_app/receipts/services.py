"""Giving a receipt its number: once, without a gap, whoever asks at the same moment."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Max

from hygate import audit
from hygate.models import SiteSettings
from hygate.trying_again import made_again
from sessions_app.models import DeviceSession, Receipt


def number(session: DeviceSession, now: datetime) -> Receipt:
    """The session's receipt; made now if this is the first time that it is asked for.

    The year is that of the place where the machine stands. The one row of the site's settings is the lock: whoever
    comes second waits, and finds either the receipt or the last serial of the year.
    """
    return Receipt.objects.filter(session=session).first() or made_again(lambda: _give(session, now))


def _give(session: DeviceSession, now: datetime) -> Receipt:
    with transaction.atomic():
        SiteSettings.objects.get_or_create(pk=1)
        site = SiteSettings.objects.select_for_update().get(pk=1)
        given = Receipt.objects.filter(session=session).first()
        if given is not None:
            return given
        year = now.astimezone(ZoneInfo(session.device.location.timezone)).year
        last = Receipt.objects.filter(year=year).aggregate(serial=Max("serial"))["serial"] or 0
        made = Receipt.objects.create(
            session=session,
            year=year,
            serial=last + 1,
            number=f"R-{year}-{last + 1:04d}",
            issued_at=now,
            seller=seller_of(site),
        )
        audit.write("receipt_numbered", session=session.pk, device=session.device_id, number=made.number)
        return made


def seller_of(site: SiteSettings) -> dict[str, str]:
    """Who sells, as it stands on the receipt for good."""
    return {
        "name": site.legal_name or site.company,
        "address": site.legal_address,
        "vat_number": site.vat_number,
        "contact": site.contact_email or site.contact_phone,
    }
