"""Rows that each get values of their own."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import ShellyAccount
from hygate import clock
from hygate.each import update_each
from hygate.secrets import PlainSecret

pytestmark = pytest.mark.django_db


def accounts(count: int) -> list[ShellyAccount]:
    return [
        ShellyAccount.objects.create(name=f"Account {number}", server_url="http://127.0.0.1:1", auth_key="key")
        for number in range(count)
    ]


def test_each_row_gets_its_own_values_and_the_others_none() -> None:
    one, two, other = accounts(3)
    now = clock.now()
    update_each(
        ShellyAccount,
        {
            one.pk: {"last_latency_ms": 7, "free_at": now, "timeout_devices": ["aa", "bb"]},
            two.pk: {"last_latency_ms": None, "name": "It's new; %s"},
        },
    )
    for row in (one, two, other):
        row.refresh_from_db()
    assert (one.last_latency_ms, one.free_at, one.timeout_devices) == (7, now, ["aa", "bb"])
    assert (one.name, two.name, two.last_latency_ms, two.free_at) == ("Account 0", "It's new; %s", None, None)
    assert (other.name, other.last_latency_ms, other.auth_key) == ("Account 2", None, "key")


def test_rows_that_change_the_same_columns_go_together() -> None:
    made = accounts(6)
    with CaptureQueriesContext(connection) as asked:
        update_each(ShellyAccount, {one.pk: {"limit_hits": one.pk} for one in made})
    assert len(asked) == 1
    assert set(ShellyAccount.objects.values_list("limit_hits", flat=True)) == {one.pk for one in made}


def test_nothing_to_change_asks_nothing() -> None:
    with CaptureQueriesContext(connection) as asked:
        update_each(ShellyAccount, {})
        update_each(ShellyAccount, {1: {}})
    assert not asked.captured_queries


def test_an_encrypted_column_is_refused() -> None:
    (one,) = accounts(1)
    with pytest.raises(PlainSecret):
        update_each(ShellyAccount, {one.pk: {"auth_key": "another"}})
    one.refresh_from_db()
    assert one.auth_key == "key"
