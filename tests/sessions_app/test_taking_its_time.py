"""What takes long says so: a sync how far it is, a file that it is being made."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.models import ShellyAccount
from devices.relays.syncing import Step, followed
from hygate import audit, clock
from hygate.models import Role
from sessions_app.dashboard import channels
from tests.sessions_app.sales import Shop, browser, file_of

pytestmark = pytest.mark.django_db
WORDS = (
    (Step.TURN, "Waiting for the account's turn"),
    (Step.STATES, "Asking Shelly for the state of every relay"),
    (Step.NAMES, "1,200 devices answered"),
    (Step.KEEPING, "1 channel found"),
)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def administrator() -> Client:
    return browser(Role.ADMINISTRATOR)


def url(name: str, shop: Shop) -> str:
    return reverse(f"dashboard:{name}", args=[shop.account.pk])


@pytest.mark.parametrize(("step", "words"), WORDS)
def test_the_page_of_an_account_shows_a_sync_that_runs_also_to_who_loads_it_again(
    shop: Shop, administrator: Client, step: Step, words: str
) -> None:
    with followed(shop.account.pk) as tell:
        tell(step, devices=1200, channels=1)
        for address in (url("account", shop), url("account_syncing", shop)):
            html = unescape(administrator.get(address).content.decode())
            assert words in html
            assert f'max="{len(Step)}" value="{step}"' in html
    assert "<progress" not in administrator.get(url("account", shop)).content.decode()


def test_a_page_that_asks_again_is_answered_only_when_something_is_new(shop: Shop, administrator: Client) -> None:
    address = url("account_syncing", shop)
    with followed(shop.account.pk) as tell:
        shown = mark(administrator, address)
        assert administrator.get(address, {"shown": shown}).status_code == 204
        tell(Step.STATES)
        assert administrator.get(address, {"shown": shown}).status_code == 200


def mark(administrator: Client, address: str, **query: str) -> str:
    found = re.search(r'name="shown" value="(\w+)"', administrator.get(address, query).content.decode())
    assert found is not None
    return found[1]


def test_a_sync_that_a_colleague_made_is_told_to_who_still_looks_at_the_older_one(
    shop: Shop, administrator: Client
) -> None:
    at = clock.now()
    ShellyAccount.objects.update(synced_at=at)
    html = administrator.get(url("account", shop)).content.decode()
    found = re.search(r'name="known" value="(\d*)"', html)
    assert found is not None
    address = url("account_syncing", shop)
    assert "Synced meanwhile" not in administrator.get(address, {"known": found[1]}).content.decode()
    ShellyAccount.objects.update(synced_at=at + timedelta(seconds=5))
    assert "Synced meanwhile" in administrator.get(address, {"known": found[1]}).content.decode()
    with followed(shop.account.pk):
        assert "Synced meanwhile" not in administrator.get(address, {"known": found[1]}).content.decode()


def test_after_a_sync_its_page_knows_that_it_shows_the_newest(
    shop: Shop, administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = clock.now()

    def synced(account: ShellyAccount) -> list[dict[str, object]]:
        ShellyAccount.objects.filter(pk=account.pk).update(synced_at=at)
        return []

    monkeypatch.setattr(channels, "sync_account", synced)
    html = administrator.post(url("account_sync", shop), headers={"HX-Request": "true"}).content.decode()
    assert f'name="known" value="{int(at.timestamp() * 1000)}"' in html


# -- files


@pytest.mark.parametrize("name", ["sessions", "payments", "audit"])
def test_a_file_says_beforehand_how_many_rows_it_will_have_and_is_a_plain_download_without_the_script(
    shop: Shop, administrator: Client, name: str
) -> None:
    for _ in range(3):
        shop.sell()
    audit.write("slot_held")
    html = unescape(administrator.get(reverse(f"dashboard:{name}")).content.decode())
    found = re.search(r'href="(\?csv=1)" download data-file data-rows="(\d+)"', html)
    assert found is not None
    answer = administrator.get(reverse(f"dashboard:{name}") + found[1])
    assert answer["Content-Disposition"].startswith("attachment")
    assert len(file_of(answer)) == int(found[2]) + 1


def test_a_file_begins_before_its_rows_are_read(shop: Shop, administrator: Client) -> None:
    shop.sell()
    answer = administrator.get(reverse("dashboard:sessions"), {"csv": "1"})
    lines = iter(answer.streaming_content)  # type: ignore[attr-defined]
    with CaptureQueriesContext(connection) as asked:
        next(lines)
    assert len(asked) == 0
    assert len(list(lines)) == 1


@pytest.mark.parametrize("name", ["devices", "reports"])
def test_other_files_say_too_that_they_are_being_made(shop: Shop, administrator: Client, name: str) -> None:
    shop.sell()
    html = administrator.get(reverse(f"dashboard:{name}")).content.decode()
    links = re.findall(r"<a [^>]*csv=[^>]*>", html)
    assert links
    assert all("download data-file" in link for link in links)


def test_labels_are_a_form_that_says_what_it_waits_for(shop: Shop, administrator: Client) -> None:
    html = administrator.get(reverse("dashboard:labels")).content.decode()
    assert 'data-file="making"' in html
    assert re.search(r'<div id="making" role="status" hidden>.*<progress', html)
