"""``GET /api/v1/energy/<location>/live``: the site's five numbers as a small JSON that a Shelly script can poll.

Keys, units and signs are those that such scripts expect: ``pvW``, ``socPc``, ``batW`` (positive = charging), ``griW``
(positive = **export**, the other way round than in Hygate), ``loadW``, and ``ts``, when the oldest of them was
measured, in milliseconds of Unix time. What the source does not tell is null.

The caller shows the Location's read token (``Authorization: Bearer …``); a wrong one and a Location that does not exist
are answered alike. The answer is made anew at most once a second.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from devices.energy import site
from devices.energy.flows import Flows, flows_of
from devices.energy.models import SitePower
from devices.energy.reading import Measured
from devices.models import Location
from hygate import audit, clock

CACHED_S = 1.0
TOKEN_BYTES = 24
Body = dict[str, int | float | None]


@dataclass(frozen=True)
class _Kept:
    """What the next callers within a second get. ``body`` is None where nothing was ever read."""

    token_hash: str
    body: Body | None
    until: float


_kept: dict[int, _Kept] = {}
_lock = threading.Lock()


@require_safe
def live(request: HttpRequest, location: int) -> HttpResponse:
    kept = _of(location)
    if not kept.token_hash or not hmac.compare_digest(kept.token_hash, hash_of(_shown_token(request))):
        return _said({"error": "a read token is needed"}, 401, {"WWW-Authenticate": "Bearer"})
    if kept.body is None:
        return _said({"error": "no reading yet"}, 503)
    return _said(kept.body, 200)


def body_of(flows: Flows) -> Body | None:
    """The JSON's keys and signs; None where nothing is known."""
    at = flows.measured_at
    if at is None:
        return None
    return {
        "pvW": _watts(flows.pv_w),
        "socPc": None if flows.soc_pct is None else round(float(flows.soc_pct.value), 1),
        "batW": _watts(flows.battery_charge_w),
        "griW": _watts(flows.grid_import_w, sign=-1),
        "loadW": _watts(flows.load_w),
        "ts": int(at.timestamp() * 1000),
    }


def new_token(location: Location, *, by: str) -> str:
    """A new read token of ``location``, shown this once; the one before stops working."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with transaction.atomic():
        SitePower.objects.get_or_create(location=location)
        SitePower.objects.filter(location=location).update(read_token_hash=hash_of(token))
        audit.write("energy_token_made", actor=by, location=location.pk)
    forget(location.pk)
    return token


def forget(location_id: int) -> None:
    """The next caller is answered from the database."""
    with _lock:
        _kept.pop(location_id, None)


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _of(location_id: int) -> _Kept:
    now = time.monotonic()
    with _lock:
        kept = _kept.get(location_id)
    if kept is not None and now < kept.until:
        return kept
    power = SitePower.objects.filter(location=location_id).first()
    if power is None:
        return _Kept("", None, now)
    _, reading = site.best_source(location_id, clock.now())
    kept = _Kept(power.read_token_hash, body_of(flows_of(reading)), now + CACHED_S)
    with _lock:
        _kept[location_id] = kept
    return kept


def _shown_token(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _watts(measured: Measured | None, *, sign: int = 1) -> int | None:
    return None if measured is None else sign * round(measured.value)


def _said(body: Mapping[str, object], status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    return JsonResponse(dict(body), status=status, headers={"Cache-Control": "no-store", **(headers or {})})
