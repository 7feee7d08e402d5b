"""Holds that nobody pays for: from one network, a device is kept from the others only so often.

Whoever keeps a machine and does not pay costs its operator ten minutes of sales, and a script could go on all day. So
each hold takes a slot of its network. What was paid for gives its slot back, and what is being paid for does not count
yet: many guests of a site share one address. Addresses stand in no row; the slots know only their hash.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.translation import gettext as _

from devices.models import Device
from hygate import attempts
from hygate.attempts import Limit
from sessions_app.guest import line, words
from sessions_app.guest.shapes import Act, Chip, SessionPage
from sessions_app.models import DeviceSession, Payment
from sessions_app.states import LIVE, Purpose

MOST_REMEMBERED = 60
WITHIN_HOLDS = 6
"""For so many times the length of a hold each is remembered: an hour."""


def is_too_often(device: Device, address: str) -> bool:
    """Whether the network let so many holds of ``device``, or of all devices, run out unpaid that it has to wait."""
    slots = {slot.about: slot for slot in attempts.held(_scope(address), _limit())}
    if not slots:
        return False
    orders = Payment.objects.filter(session__in=slots, purpose=Purpose.START)
    paid = orders.filter(authorized_at__isnull=False).values_list("session", flat=True)
    over = orders.filter(authorized_at__isnull=True).exclude(session__state__in=LIVE)
    attempts.give_back(slots[session] for session in paid)
    unpaid, numbers = Counter(over.values_list("session__device", flat=True)), settings.NUMBERS
    return unpaid[device.pk] >= numbers.unpaid_of_device or unpaid.total() >= numbers.unpaid_in_all


def remember(session: DeviceSession, address: str) -> None:
    """Where a network has more holds than can be remembered, they are being paid for: this one is then not counted."""
    attempts.take(_scope(address), _limit(), about=session.pk)


def wait_s() -> int:
    """After so long at the latest the network may buy again."""
    return _limit().within_s


def _limit() -> Limit:
    return Limit(MOST_REMEMBERED, int(WITHIN_HOLDS * settings.NUMBERS.hold_s))


def _scope(address: str) -> str:
    return f"unpaid@{address}"


def page(device: Device, code: str, now: datetime) -> SessionPage:
    facts = {"device": device.name, "wait": words.about(timedelta(seconds=wait_s()))}
    made = SessionPage(
        state="left",
        chip=Chip("clock", _("Please wait")),
        headline=_("Kept too often without paying"),
        answer=_("You can buy %(device)s from here again in %(wait)s at the latest. Nothing was charged.") % facts,
        text=_("From your network it was kept several times and not paid, while others could not use it."),
        acts=(Act(_("Go to %(device)s") % facts, f"/d/{code}/"),),
        pace="never",
    )
    return line.complete(device, made, now)
