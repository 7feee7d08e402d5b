"""A prepared query answers as its queryset would, with each call's own values, and is built once."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.test.utils import CaptureQueriesContext

from devices.models import Device, Location, ShellyAccount, UsagePlan
from hygate import clock
from hygate.models import AuditEvent
from hygate.prepared import Prepared

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def washers() -> list[Device]:
    location = Location.objects.create(name="Laundry")
    account = ShellyAccount.objects.create(name="demo", server_url="http://127.0.0.1:1", auth_key="secret key")
    made = [
        Device.objects.create(location=location, account=account, shelly_id=f"{n:012x}", name=f"Washer {n}", watts=n)
        for n in range(3)
    ]
    UsagePlan.objects.create(device=made[1], name="Short", duration_s=60, price_minor=100)
    return made


def with_plans(name: str) -> QuerySet[Device, Device]:
    plans = UsagePlan.objects.filter(device=OuterRef("pk"), active=True)
    rows = Device.objects.select_related("location", "account").filter(name=name).annotate(has_plans=Exists(plans))
    return rows.order_by("pk")[:1]


def test_instances_come_with_what_was_selected_along_and_annotated(washers: list[Device]) -> None:
    prepared = Prepared(with_plans, name=str)
    for washer, has_plans in zip(washers, (False, True, False), strict=True):
        with CaptureQueriesContext(connection) as asked:
            found: Any = prepared.first(name=washer.name)
            assert (found.pk, found.watts, found.location.name) == (washer.pk, washer.watts, "Laundry")
            assert found.account.auth_key == "secret key"
            assert found.has_plans is has_plans
        assert len(asked) == 1
    assert prepared.first(name="Dryer") is None


def test_it_is_built_once_for_all_threads_that_ask_later(washers: list[Device]) -> None:
    built = []

    def build(device: int) -> QuerySet[Device, tuple[Any, ...]]:
        built.append(device)
        return Device.objects.filter(pk=device).values_list("name", "watts")

    prepared = Prepared(build, device=int)
    assert prepared.rows(device=washers[0].pk) == [("Washer 0", 0)]
    found: list[Any] = []

    def ask() -> None:
        found.extend(prepared.rows(device=washers[2].pk))
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [("Washer 2", 2)]
    assert len(built) == 1


def test_moments_are_compared_as_the_database_keeps_them(transactional_db: None) -> None:
    now = clock.now()
    AuditEvent.objects.create(kind="old", at=now - timedelta(hours=2))
    AuditEvent.objects.create(kind="new", at=now)
    since = Prepared(lambda since: AuditEvent.objects.filter(at__gte=since).values_list("kind", "at"), since=datetime)
    assert [kind for kind, _ in since.rows(since=now - timedelta(hours=1))] == ["new"]
    assert {kind for kind, _ in since.rows(since=now - timedelta(hours=3))} == {"old", "new"}
    assert since.rows(since=now - timedelta(hours=1))[0][1] == now


def test_a_value_that_the_query_does_not_use_is_a_mistake(transactional_db: None) -> None:
    unused = Prepared(lambda name: Device.objects.all(), name=str)
    with pytest.raises(AssertionError, match="not in the query"):
        unused.rows(name="Washer")
