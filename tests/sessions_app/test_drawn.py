"""What is drawn without a template: nothing that people typed gets through as HTML, and times say what they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import pytest
from django.template import Context, Template

from devices.models import Device, DeviceKind, Location
from hygate import audit
from hygate.models import Role
from sessions_app.dashboard import drawn
from sessions_app.dashboard.looks import Look, Tile
from tests.sessions_app.sales import Shop, browser

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
EVIL = "<b onclick='x()'>\"&"
FREE = Look("idle", "circle-check", "free")


def tile(**fields: Any) -> Tile:
    usual: dict[str, Any] = {"url": "/dashboard/devices/7/", "name": "Washer", "place": "Cellar", "look": FREE}
    return Tile(**usual | fields)


def shown(**fields: Any) -> str:
    return str(drawn.tiles([tile(**fields)], NOW, bar=True))


def test_what_people_typed_is_never_html() -> None:
    device = Device(pk=7, name=EVIL, place=EVIL, kind=DeviceKind.WASHER, location=Location(name=EVIL))
    one = tile(name=EVIL, place=EVIL, note=EVIL, asked=EVIL, look=Look("ok", EVIL, EVIL))
    told = [
        drawn.tiles([one], NOW),
        drawn.device_rows([(device, one)], NOW),
        drawn.options([(EVIL, EVIL)], EVIL),
        drawn.state(one.look),
        drawn.icon(EVIL),
    ]
    for html in told:
        rendered = Template("{{ html }}").render(Context({"html": html}))
        assert rendered == html
        assert EVIL not in rendered
        assert "<b onclick" not in rendered
        assert "'x()'" not in rendered


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["sessions", "payments", "audit", "devices"])
def test_what_people_typed_is_never_html_in_a_list(name: str) -> None:
    shop = Shop()
    Device.objects.update(name=EVIL, place=EVIL)
    Location.objects.update(name=EVIL)
    payment = shop.sell(plan_name=EVIL, payment={"method": EVIL, "method_detail": EVIL})
    about = {"session": payment.session_id, "payment": payment.pk, "device": shop.washer.pk}
    audit.write("device_edited", **about, note=EVIL, changed=["name"], before={"name": EVIL}, after={"name": EVIL})
    html = browser(Role.ADMINISTRATOR).get(f"/dashboard/{name}/").content.decode()
    assert escape(EVIL) in html.partition('id="main"')[2]
    assert EVIL not in html
    assert "<b onclick" not in html


@pytest.mark.django_db
def test_the_log_says_what_changed_from_what_to_what_and_where_it_leads() -> None:
    shop = Shop()
    said: dict[str, Any] = {"changed": ["name", "token"], "before": {"name": "A"}, "after": {"name": "B"}}
    audit.write("device_edited", device=shop.washer.pk, **said)
    html = browser(Role.ADMINISTRATOR).get("/dashboard/audit/").content.decode()
    assert '<del>A</del> <span aria-hidden="true">→</span> <ins>B</ins>' in html
    assert "<li>token changed; its value is not kept here</li>" in html
    assert f'<a href="/dashboard/devices/{shop.washer.pk}/">Washer 2</a>' in html
    assert '<span class="tag t-wait">to be sealed</span>' in html


def test_a_tile_leads_to_what_it_shows_and_keeps_its_name_in_the_page() -> None:
    html = shown()
    assert html.startswith('<a class="tile t-idle" id="tdashboarddevices7" href="/dashboard/devices/7/"><b>Washer</b>')
    assert "Cellar" in html
    assert "Cellar" not in drawn.tiles([tile()], NOW, place=False)


@pytest.mark.parametrize(
    ("look", "time"),
    [
        (FREE, ""),
        (Look("ok", "zap", "running", NOW + timedelta(seconds=90), total_s=180), ">1:30</span>"),
        (Look("hold", "pause", "paused: power", left_s=30, total_s=60), '<span class="left">0:30</span>'),
        (Look("wait", "power-off", "stopping", left_s=0), '<span class="left">0:00</span>'),
    ],
)
def test_time_counts_down_stands_still_or_is_not_there(look: Look, time: str) -> None:
    html = shown(look=look)
    assert time in html
    assert ('class="left"' in html) is bool(time)
    assert ('role="timer" data-ends="1793620890000"' in html) is (look.ends_at is not None)


def test_the_bar_holds_what_is_left_and_ends_where_the_clock_does() -> None:
    html = shown(look=Look("ok", "zap", "running", NOW + timedelta(seconds=90), total_s=180))
    assert '<progress max="180" data-until="1793620890000" value="90" aria-hidden="true">' in html
    late = shown(look=Look("ok", "zap", "running", NOW - timedelta(seconds=5), total_s=180))
    assert 'value="0"' in late
    assert "<progress" not in shown()


def test_the_last_contact_is_an_age_and_says_when_it_is_late() -> None:
    assert "34 s ago" in shown(contact_at=NOW - timedelta(seconds=34), watts=12)
    assert "12\u00a0W · " in shown(contact_at=NOW, watts=12) and "2,400\u00a0W" in shown(contact_at=NOW, watts=2400)
    assert 'class="when small late"' in shown(contact_at=NOW, late=True)
    assert "ago" not in shown()


def test_the_chosen_value_of_a_select_is_the_one_that_was_asked_for() -> None:
    assert drawn.options([("1", "One"), ("2", "Two")], "2") == (
        '<option value="1">One</option><option value="2" selected>Two</option>'
    )
