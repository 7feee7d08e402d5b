"""Alerts on the dashboard: on top, in words and icons, acknowledged and closed by staff, and cheap."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.models import Device, Location, ShellyAccount
from hygate import alerts, clock, health
from hygate.due.sweep import beat
from hygate.models import Alert, AuditEvent, Role, Severity, SiteSettings, User

pytestmark = pytest.mark.django_db
QUIET = "All quiet: nothing waits for a person."


def browser(email: str, role: str) -> Client:
    client = Client()
    user = User.objects.create_user(email, "correct horse", role=role, is_staff=True, first_name=role.title())
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def operator() -> Client:
    return browser("operator@site.example", Role.OPERATOR)


@pytest.fixture
def administrator() -> Client:
    SiteSettings.objects.create(pk=1)  # a site that nobody has touched leads to Setup
    return browser("admin@site.example", Role.ADMINISTRATOR)


def trouble(key: str = "pump", severity: str = Severity.WARNING, **fields: Any) -> Alert:
    said = {"kind": "pump", "title": f"The {key} stands still", "advice": "Press the green button."}
    return alerts.raise_alert(key, severity=severity, **(said | fields))


def page(client: Client, name: str = "overview", **query: str) -> str:
    answer = client.get(reverse(f"dashboard:{name}"), query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def post(client: Client, name: str, alert: Alert, **said: str) -> str:
    answer = client.post(reverse(f"dashboard:{name}", args=[alert.pk]), said, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_a_quiet_site_says_so(operator: Client) -> None:
    assert QUIET in page(operator)
    assert QUIET in page(operator, "alerts", state="open")
    trouble()
    assert QUIET not in page(operator)


def test_open_alerts_stand_on_top_errors_first_in_words(operator: Client) -> None:
    trouble("pump")
    trouble("boiler", Severity.ERROR)
    shown = page(operator)
    assert shown.index("The boiler stands still") < shown.index("The pump stands still") < shown.index("Active now")
    assert re.search(r'class="say t-stop".*?#circle-alert.*?Error: ', shown, re.DOTALL)
    assert re.search(r'class="say t-hold".*?#triangle-alert.*?Warning: ', shown, re.DOTALL)
    assert "Press the green button." in shown


def test_an_alert_leads_to_what_it_is_about(operator: Client, administrator: Client) -> None:
    location = Location.objects.create(name="Hall")
    account = ShellyAccount.objects.create(name="Cloud", server_url="http://127.0.0.1:1", auth_key="k")
    device = Device.objects.create(location=location, account=account, shelly_id="aa", name="Washer 1")
    trouble("relay", device=device.pk)
    trouble("key", account=account.pk)
    trouble("sale", session=41, device=device.pk)
    device_link = f'href="{reverse("dashboard:device", args=[device.pk])}"'
    account_link = f'href="{reverse("dashboard:account", args=[account.pk])}"'
    session_link = f'href="{reverse("dashboard:session", args=[41])}"'
    assert all(link in page(administrator) for link in (device_link, account_link, session_link))
    assert account_link not in page(operator)


def test_acknowledging_names_who_and_keeps_the_alert_on_top(operator: Client) -> None:
    alert = trouble()
    trouble("boiler")
    shown = post(operator, "alert_acknowledge", alert, back="overview")
    assert "The alert stays until it has healed" in shown
    assert shown.index("The boiler stands still") < shown.index("The pump stands still")
    assert "Acknowledged</span>" in shown
    alert.refresh_from_db()
    event = AuditEvent.objects.get(kind="alert_acknowledged")
    assert alert.acknowledged_by == event.actor == f"user:{User.objects.get().pk}"
    assert "seen by Operator" in page(operator, "alerts")
    assert "Somebody was quicker" in post(operator, "alert_acknowledge", alert)


def test_staff_closes_what_nothing_heals_by_itself(operator: Client) -> None:
    alert = trouble()
    assert "comes back by itself" in post(operator, "alert_close", alert)
    assert "closed already" in post(operator, "alert_close", alert)
    assert QUIET in page(operator)
    assert "The pump stands still" in page(operator, "alerts", state="closed")
    assert "The pump stands still" not in page(operator, "alerts", state="open")
    assert AuditEvent.objects.get(kind="alert_closed").actor.startswith("user:")


@pytest.mark.parametrize("name", ["alert_acknowledge", "alert_close"])
def test_looking_never_acknowledges_or_closes(operator: Client, name: str) -> None:
    alert = trouble()
    assert operator.get(reverse(f"dashboard:{name}", args=[alert.pk])).status_code == 405
    assert Client().post(reverse(f"dashboard:{name}", args=[alert.pk]))["Location"].startswith("/account/login/")
    alert.refresh_from_db()
    assert (alert.acknowledged_at, alert.closed_at) == (None, None)


def test_the_live_part_changes_with_the_alerts_and_not_with_their_being_noticed_again(operator: Client) -> None:
    beat("sweep")
    trouble()

    def seen() -> str:
        found = re.search(r'name="seen" value="([^"]*)"', page(operator))
        assert found
        return found[1]

    before = seen()
    trouble()
    assert operator.get(reverse("dashboard:overview_live"), headers={"X-Seen": before}).status_code == 204
    trouble("boiler")
    changed = operator.get(reverse("dashboard:overview_live"), headers={"X-Seen": before})
    assert "The boiler stands still" in changed.content.decode()


@pytest.mark.parametrize("name", ["overview", "alerts"])
def test_pages_stay_cheap_however_much_is_wrong(administrator: Client, name: str) -> None:
    user = User.objects.get()
    for number in range(30):
        alert = trouble(f"pump {number}", account=number, device=number)
        if number % 2:
            alerts.acknowledge(alert.pk, by=f"user:{user.pk}")
        beat(f"worker:{number}")
    with CaptureQueriesContext(connection) as asked:
        shown = page(administrator, name)
    assert len(asked) <= 12, [one["sql"] for one in asked]
    assert "22 more alerts" in shown if name == "overview" else "1–30 of 30" in shown


def test_what_an_alert_says_is_never_markup(operator: Client) -> None:
    trouble(title="<script>alert(1)</script>", advice="<b>bold</b>")
    for name in ("overview", "alerts"):
        shown = page(operator, name)
        assert "<script>alert" not in shown
        assert "<b>bold" not in shown


def test_silence_of_all_sweepers_is_one_query(manual_clock: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert health.sweep_silence_s() == float("inf")
    beat("sweep")
    manual_clock.sleep(20)
    beat("sealer")
    for number in range(5):
        beat(f"worker:{number}")
        manual_clock.sleep(1)
    with django_assert_num_queries(1):
        assert health.sweep_silence_s() == 1
    assert clock.now() == manual_clock.now()
