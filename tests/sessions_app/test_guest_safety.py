"""What no page of a guest does: load from strangers, weigh much, be kept by others, ask the database often."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from devices.models import Device, UsagePlan
from hygate import clock
from hygate.models import SiteSettings
from sessions_app.models import DeviceSession, Payment
from sessions_app.states import PaymentStatus, State
from tests.sessions_app.guest_pages import (
    CAPTURED,
    LINK,
    PENDING,
    Make,
    _static_files_need_no_collecting,
    device,
    make,
    plan,
    ran,
)

__all__ = ["_static_files_need_no_collecting", "device", "make", "plan"]
pytestmark = pytest.mark.django_db

STATIC = Path(__file__).resolve().parents[2] / "hygate" / "static" / "hygate"
EVERY: dict[str, tuple[str, dict[str, Any]]] = {
    "held": (State.HELD, PENDING),
    "grace": (State.GRACE, {}),
    "starting": (State.STARTING, {}),
    "running": (State.RUNNING, CAPTURED),
    "stopping": (State.STOPPING, {**CAPTURED, "charge_minor": 216}),
    "completed": (State.COMPLETED, {**CAPTURED, "charge_minor": 216}),
}


def pages_of(client: Client, make: Make) -> list[Any]:
    responses = [client.get(path) for path in ("/d/W17Q4/", "/d/ZZZZZ/", "/session/unknown/", "/nothing/here/")]
    for state, pay in EVERY.values():
        Payment.objects.all().delete()
        DeviceSession.objects.all().delete()
        extra = ran(36) if state in (State.RUNNING, State.STOPPING, State.COMPLETED) else {}
        make(state, pay=pay, grace_ends_at=clock.now() + timedelta(minutes=5), **extra)
        responses.append(client.get(LINK))
    return responses


def test_no_page_has_inline_scripts_styles_or_strangers(client: Client, plan: UsagePlan, make: Make) -> None:
    for response in pages_of(client, make):
        body = response.content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", body)
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", body))
        assert not re.search(r'<(?:link|script|img|use|iframe)[^>]*(?:src|href)="(?:https?:)?//', body)
        assert "Simulation: no real money, no real machines." in body


def test_a_page_with_all_it_loads_is_small(client: Client, plan: UsagePlan, make: Make) -> None:
    loaded = sum((STATIC / name).stat().st_size for name in ("guest.css", "guest.js", "sprite.svg", "icon.svg"))
    for response in pages_of(client, make):
        assert loaded + len(response.content) < 100_000


def test_a_session_page_is_kept_by_nobody(client: Client, make: Make) -> None:
    make(State.GRACE, grace_ends_at=clock.now())
    for path in (LINK, "/session/unknown/", f"{LINK}back/"):
        response = client.get(path)
        assert response["Cache-Control"] == "no-store"
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["X-Robots-Tag"] == "noindex"
    assert client.get("/session/unknown/").status_code == 404


def test_a_session_page_takes_three_queries(client: Client, make: Make, django_assert_max_num_queries: Any) -> None:
    make(State.GRACE, grace_ends_at=clock.now())
    with django_assert_max_num_queries(3):
        client.get(LINK)


def test_asking_again_costs_nothing_until_there_is_news(client: Client, make: Make) -> None:
    session = make(State.GRACE, grace_ends_at=clock.now() + timedelta(minutes=5))
    asks = {"X-Requested-With": "hygate"}
    first = client.get(LINK, headers=asks)
    assert first.content.decode().startswith("<main")
    again = client.get(LINK, headers={**asks, "If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    DeviceSession.objects.filter(pk=session.pk).update(state=State.STARTING)
    news = client.get(LINK, headers={**asks, "If-None-Match": first["ETag"]})
    assert news.status_code == 200
    assert "switching on" in news.content.decode()


def test_counting_down_is_no_news(client: Client, make: Make, later: Callable[[float], Any]) -> None:
    make(State.RUNNING, pay=CAPTURED, **ran(18, off_requested_at=None, delivered_s=None))
    first = client.get(LINK)["ETag"]
    later(60)
    assert client.get(LINK)["ETag"] == first


def test_without_a_script_a_page_that_changes_reloads_itself(client: Client, make: Make) -> None:
    session = make(State.STARTING)
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in client.get(LINK).content.decode()
    DeviceSession.objects.filter(pk=session.pk).update(state=State.CANCELLED, reason="start_failed")
    Payment.objects.update(status=PaymentStatus.VOIDED)
    assert "refresh" not in client.get(LINK).content.decode()


def test_a_devices_name_cannot_write_html(client: Client, plan: UsagePlan) -> None:
    Device.objects.update(name="<script>alert(1)</script>", place='"><img src=x>')
    body = client.get("/d/W17Q4/").content.decode()
    assert "<script>alert" not in body
    assert "<img" not in body


@pytest.mark.parametrize(("color", "text"), [("#153e63", "#fff"), ("#ffc531", "#000"), ("red;}", "#fff")])
def test_the_operators_colour_comes_with_readable_words(client: Client, plan: UsagePlan, color: str, text: str) -> None:
    SiteSettings.objects.update_or_create(pk=1, defaults={"brand_color": color})
    chosen = color if color.startswith("#") else "#153e63"
    address = f"/brand-{chosen[1:]}.css"
    assert f'href="{address}"' in client.get("/d/W17Q4/").content.decode()
    response = client.get(address)
    assert response.content.decode() == f":root {{ --brand: {chosen}; --brand-text: {text}; }}\n"
    assert "immutable" in response["Cache-Control"]
