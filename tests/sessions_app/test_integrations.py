"""The first page's neighbours: each trouble has its own sentence and tone, and a way to mend it for who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.energy.models import EnergySource, SourceKind, SourceStatus
from devices.models import AccountStatus, Location, ShellyAccount
from hygate import clock
from hygate.models import Heartbeat, Role
from sessions_app.dashboard.integrations import Health
from sessions_app.models import StripeWatch
from sessions_app.payments import keyring
from tests.sessions_app.sales import Shop, browser

pytestmark = pytest.mark.django_db
URL, LIVE = "/dashboard/", "/dashboard/live/"


@pytest.fixture
def shop(manual_clock: Any) -> Shop:
    made = Shop()
    beat(sweep=0, energy=0, **{"worker:clock": 0})
    return made


def beat(**ages_s: float) -> None:
    for name, age_s in ages_s.items():
        at = clock.now() - timedelta(seconds=age_s)
        Heartbeat.objects.update_or_create(name=name, defaults={"at": at})


def source(**columns: Any) -> EnergySource:
    made: EnergySource = EnergySource.objects.create(
        location=Location.objects.get(name="Laundry house"), name="Plant", kind=SourceKind.SIGENERGY_MODBUS, **columns
    )
    return made


def seen(name: str, role: str = Role.ADMINISTRATOR) -> Health:
    found: list[Health] = browser(role).get(LIVE).context["integrations"]
    return next(one for one in found if one.name == name)


@pytest.mark.parametrize(
    ("status", "tone", "words"),
    [
        (AccountStatus.OK, "ok", "answers"),
        (AccountStatus.BAD_KEY, "stop", "auth key is refused"),
        (AccountStatus.UNREACHABLE, "stop", "does not answer"),
        (AccountStatus.UNTRIED, "idle", "not tried yet"),
    ],
)
def test_each_shelly_account(shop: Shop, status: str, tone: str, words: str) -> None:
    ShellyAccount.objects.update(status=status)
    found = seen("Shelly · demo")
    assert found.tone == tone
    assert words in found.words
    assert found.url == f"/dashboard/accounts/{shop.account.pk}/"


@pytest.mark.parametrize(
    ("status", "tone", "words"),
    [
        (SourceStatus.OK, "ok", "delivers"),
        (SourceStatus.REFUSED, "stop", "refuses its settings"),
        (SourceStatus.UNREACHABLE, "stop", "does not answer; last heard"),
        (SourceStatus.UNTRIED, "idle", "not tried yet"),
    ],
)
def test_each_energy_source(shop: Shop, status: str, tone: str, words: str) -> None:
    source(status=status)
    found = seen("Energy · Plant")
    assert (found.tone, found.words) == (tone, words)
    assert found.url == "/dashboard/settings/energy/"
    assert seen("Energy · Plant", Role.OPERATOR).url == "/dashboard/energy/"


def test_a_refused_stripe_key_is_said_at_once(shop: Shop) -> None:
    assert seen("Stripe").tone != "stop"
    StripeWatch.objects.update_or_create(pk=1, defaults={"key_status": "key_refused"})
    assert (seen("Stripe").tone, seen("Stripe").help) == ("stop", "key_refused")
    assert seen("Stripe", Role.OPERATOR).url == ""


def test_the_watcher_matters_only_where_there_is_something_to_watch(shop: Shop) -> None:
    names = [one.name for one in browser().get(LIVE).context["integrations"]]
    assert "Energy watcher" not in names
    source()
    assert seen("Energy watcher").tone == "ok"
    beat(energy=31)
    assert seen("Energy watcher").tone == "stop"


@pytest.mark.parametrize(("age_s", "tone"), [(1, "ok"), (10, "hold"), (31, "stop")])
def test_the_broker_is_judged_by_what_comes_through(shop: Shop, settings: Any, age_s: float, tone: str) -> None:
    settings.BROKER_URL = "redis://127.0.0.1:9/0"
    beat(sweep=age_s)
    assert seen("Broker and scheduler").tone == tone
    assert seen("Sweep").tone == "ok", "the workers sweep by themselves"


@pytest.mark.parametrize(("age_s", "tone"), [(1, "ok"), (10, "hold"), (31, "stop")])
def test_the_sweep_is_late_when_nobody_sweeps(shop: Shop, age_s: float, tone: str) -> None:
    beat(sweep=age_s, **{"worker:clock": age_s})
    assert seen("Sweep").tone == tone


def test_a_site_where_no_worker_ever_ran_says_so(shop: Shop) -> None:
    Heartbeat.objects.all().delete()
    assert "no worker has run yet" in seen("Sweep").words


def test_nothing_new_is_no_answer_though_readings_come_in(shop: Shop) -> None:
    one, client = source(status=SourceStatus.OK, last_ok_at=clock.now()), browser()
    mark = client.get(LIVE).context["mark"]
    EnergySource.objects.filter(pk=one.pk).update(last_ok_at=clock.now() + timedelta(seconds=10))
    assert client.get(LIVE, headers={"X-Seen": mark}).status_code == 204
    EnergySource.objects.filter(pk=one.pk).update(status=SourceStatus.UNREACHABLE)
    assert client.get(LIVE, headers={"X-Seen": mark}).status_code == 200


@pytest.mark.parametrize("url", [URL, LIVE])
def test_the_first_page_takes_ten_queries_at_most(shop: Shop, url: str) -> None:
    for _ in range(8):
        shop.sell()
    source(status=SourceStatus.OK)
    client = browser(Role.ADMINISTRATOR)
    keyring.in_force()  # a process reads the keys once in five seconds
    with CaptureQueriesContext(connection) as asked:
        assert client.get(url).status_code == 200
    assert len(asked) <= 10, [one["sql"] for one in asked]
