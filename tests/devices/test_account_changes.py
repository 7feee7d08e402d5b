"""A new key, a new server, an old key: what is saved, what goes out at once, what people are told."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db import connection

from devices import accounts, key_age
from devices.models import AccountStatus, Device, RelayCommand, ShellyAccount
from hygate import clock
from hygate.models import Alert, AuditEvent, Severity
from hygate.numbers import Numbers
from sessions_app.states import State

if TYPE_CHECKING:
    from tests.world import World

NEW_KEY = "canary-new-key-0123456789"


@pytest.fixture(autouse=True)
def _nobody_has_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_age, "_looked", {})


def change(account: ShellyAccount, **wanted: Any) -> list[str]:
    kept = {"name": account.name, "server_url": account.server_url}
    return accounts.change_account(account, **kept | wanted, by="user:1")


def events_about(account: ShellyAccount) -> list[str]:
    rows = AuditEvent.objects.filter(kind__startswith="account_").order_by("id")
    return [row.kind for row in rows if row.data.get("account") == account.pk]


def rekey(world: World, key: str) -> None:
    world.ctl(world.shelly_server, "POST", "/_ctl/accounts/account-1", {"auth_key": key})


def test_a_running_session_is_ended_with_the_new_key_at_once(world: World) -> None:
    """The key is revoked mid-session, so that OFF cannot be sent; a minute later the new one is saved."""
    session = world.buy()
    world.tell(session)
    world.go(8)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    rekey(world, NEW_KEY)
    world.go(25)
    waiting = RelayCommand.objects.get(on=False, closed_at__isnull=True)
    account = ShellyAccount.objects.get()
    assert account.status == AccountStatus.BAD_KEY
    assert waiting.next_at > world.now
    assert change(account, auth_key=NEW_KEY) == ["auth_key"]
    account.refresh_from_db()
    assert account.status == AccountStatus.UNTRIED
    assert account.due_at is not None
    assert account.due_at <= world.now
    waiting.refresh_from_db()
    assert waiting.next_at <= world.now
    world.go(4)
    waiting.refresh_from_db()
    assert waiting.state == "confirmed"
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    assert ShellyAccount.objects.get().status == AccountStatus.OK


def test_a_relay_that_strayed_meanwhile_is_read_and_switched_off(world: World) -> None:
    rekey(world, NEW_KEY)
    world.go(40)
    assert ShellyAccount.objects.get().status == AccountStatus.BAD_KEY
    world.ctl(world.shelly_server, "POST", "/_ctl/devices/e86beaaaa001", {"press": 0})
    change(ShellyAccount.objects.get(), auth_key=NEW_KEY)
    world.go(6)
    assert world.relay()[-1] == (False, "request")
    assert Device.objects.get(pk=world.device.pk).output is False


def test_an_account_that_moved_to_another_server_goes_on_there(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(8)
    where_it_is_now = world.shelly_server.url
    ShellyAccount.objects.update(server_url="http://127.0.0.1:1")
    world.go(25)
    session.refresh_from_db()
    assert session.state == State.STOPPING
    assert change(ShellyAccount.objects.get(), server_url=where_it_is_now) == ["server_url"]
    account = ShellyAccount.objects.get()
    assert (account.status, account.timeouts_in_row, account.circuit_opened_at) == ("untried", 0, None)
    world.go(4)
    session.refresh_from_db()
    assert session.state == State.COMPLETED


def test_the_log_says_what_name_and_server_were_and_are_and_never_the_key(world: World) -> None:
    account = ShellyAccount.objects.get()
    was = urlsplit(account.server_url).netloc
    change(account, auth_key=NEW_KEY, server_url="http://127.0.0.1:9", name="renamed")
    assert events_about(account) == ["account_edited", "account_key_changed", "account_host_changed"]
    name, key, host = AuditEvent.objects.filter(kind__startswith="account_").order_by("id")
    assert (name.data["before"], name.data["after"]) == ({"name": account.name}, {"name": "renamed"})
    assert (host.data["before"], host.data["after"]) == ({"host": was}, {"host": "127.0.0.1:9"})
    assert set(key.data) == {"account"}
    told = str(list(AuditEvent.objects.values_list("data", flat=True)))
    assert NEW_KEY not in told
    assert account.auth_key not in told


def test_nothing_typed_changes_nothing(world: World) -> None:
    account = ShellyAccount.objects.get()
    assert change(account) == []
    fresh = ShellyAccount.objects.get()
    assert (fresh.status, fresh.key_saved_at) == (account.status, account.key_saved_at)
    assert events_about(account) == []


def test_renaming_leaves_the_status_alone(world: World) -> None:
    assert change(ShellyAccount.objects.get(), name="renamed") == ["name"]
    assert ShellyAccount.objects.get().status == AccountStatus.OK


def test_an_answer_to_the_old_key_says_nothing_about_the_new_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from devices.relays import calls

    rekey(world, NEW_KEY)
    perform = calls.perform

    def perform_late(request: Any) -> Any:
        answer = perform(request)
        if answer.error is not None and answer.error.name == "bad_key" and not saved:
            saved.append(True)
            world.manual.set(world.now + timedelta(seconds=1))
            change(ShellyAccount.objects.get(), auth_key=NEW_KEY)
            connection.close()  # this runs in a thread of the queue's pool
        return answer

    saved: list[bool] = []
    monkeypatch.setattr(calls, "perform", perform_late)
    world.go(40)
    assert saved
    assert ShellyAccount.objects.get().status == AccountStatus.OK
    assert not Alert.objects.filter(kind="account_key").exists()


def test_add_account_wakes_the_queue_and_is_audited(world: World) -> None:
    rekey(world, NEW_KEY)
    world.go(40)
    out = StringIO()
    call_command("add_account", "demo", "--server-url", world.account.server_url, "--auth-key", NEW_KEY, stdout=out)
    assert "changed" in out.getvalue()
    assert NEW_KEY not in out.getvalue()
    world.go(2)
    assert ShellyAccount.objects.get().status == AccountStatus.OK
    call_command(
        "add_account", "second", "--server-url", world.account.server_url, "--auth-key", "other", stdout=StringIO()
    )
    second = ShellyAccount.objects.get(name="second")
    assert second.due_at is not None
    assert events_about(second) == ["account_added"]
    assert events_about(world.account) == ["account_key_changed"]


# -- the key's age


@pytest.mark.parametrize(
    ("days", "level"), [(0, "ok"), (74, "ok"), (75, "hold"), (89, "hold"), (90, "stop"), (400, "stop")]
)
def test_a_key_warns_from_day_75_and_is_an_error_from_day_90(days: int, level: str) -> None:
    now = clock.now()
    age = key_age.key_age(now - timedelta(days=days), now, Numbers())
    assert (age.days, age.level) == (days, level)
    assert bool(age.sentence) == (level != "ok")


def test_an_old_key_is_told_once_and_a_new_one_ends_it(world: World) -> None:
    def alert() -> Alert | None:
        return Alert.objects.filter(kind="key_age", closed_at__isnull=True).first()

    world.go(60)
    assert alert() is None
    for days, severity in ((76, Severity.WARNING), (91, Severity.ERROR)):
        ShellyAccount.objects.update(key_saved_at=world.now - timedelta(days=days))
        world.manual.set(world.now + timedelta(days=1))
        world.go(120)
        told = alert()
        assert told is not None
        assert (told.severity, told.account) == (severity, world.account.pk)
        assert f"{days + 1} days" in told.title
    told = alert()
    assert told is not None
    assert told.times == 2, "once a day, not with every reading"
    rekey(world, NEW_KEY)
    change(ShellyAccount.objects.get(), auth_key=NEW_KEY)
    assert alert() is None
