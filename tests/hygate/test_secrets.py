"""Secrets at rest: bound to their row and column, decrypted when looked at, re-encrypted while the site runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from devices.models import ShellyAccount
from hygate import rotation, secrets
from hygate.models import AuditEvent
from hygate.secrets import PlainSecret, SecretUnreadable

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def save(name: str, key: str) -> ShellyAccount:
    return ShellyAccount.objects.create(name=name, server_url="http://127.0.0.1:1", auth_key=key)


def stored(account: ShellyAccount) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT auth_key FROM devices_shellyaccount WHERE id = %s", [account.pk])
        return str(cursor.fetchone()[0])


def store(account: ShellyAccount, token: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE devices_shellyaccount SET auth_key = %s WHERE id = %s", [token, account.pk])


def fresh(account: ShellyAccount) -> ShellyAccount:
    return ShellyAccount.objects.get(pk=account.pk)


@pytest.mark.django_db
def test_what_is_stored_is_ciphertext_and_what_is_read_is_the_key() -> None:
    account = save("one", "plain-key")
    assert "plain-key" not in stored(account)
    assert fresh(account).auth_key == "plain-key"


@pytest.mark.django_db
def test_ciphertext_of_another_row_does_not_open() -> None:
    mine, other = save("mine", "key-of-mine"), save("other", "key-of-other")
    store(mine, stored(other))
    with pytest.raises(SecretUnreadable, match="another row"):
        _ = fresh(mine).auth_key


@pytest.mark.django_db
def test_ciphertext_of_another_column_of_the_same_row_does_not_open() -> None:
    account = save("one", "plain-key")
    store(account, secrets.seal("stolen", column="devices.shellyaccount.other", row=account.secret_id).token)
    with pytest.raises(SecretUnreadable, match="another row or column"):
        _ = fresh(account).auth_key


@pytest.mark.django_db
def test_ciphertext_that_belongs_to_no_row_opens_in_none_and_the_other_way_round() -> None:
    account = save("one", "plain-key")
    with pytest.raises(SecretUnreadable):
        secrets.decrypt(stored(account))
    store(account, secrets.encrypt("from a cookie"))
    with pytest.raises(SecretUnreadable):
        _ = fresh(account).auth_key
    assert secrets.decrypt(secrets.encrypt("loose")) == "loose"


@pytest.mark.django_db
def test_a_key_that_is_gone_is_said_so_without_the_ciphertext(settings: Any) -> None:
    account = save("one", "plain-key")
    settings.FIELD_KEYS = [NEW]
    with pytest.raises(SecretUnreadable, match="HYGATE_FIELD_KEYS") as caught:
        _ = fresh(account).auth_key
    assert stored(account) not in str(caught.value)


@pytest.mark.django_db
def test_a_list_decrypts_nothing_and_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    save("one", "plain-key")

    def refuse(*_args: Any, **_named: Any) -> str:
        raise AssertionError("decrypted although nobody looked")

    monkeypatch.setattr(secrets, "unseal", refuse)
    assert [account.name for account in ShellyAccount.objects.all()] == ["one"]
    assert repr(list(ShellyAccount.objects.values_list("auth_key", flat=True))) == "[<sealed>]"
    with pytest.raises(AssertionError):
        _ = ShellyAccount.objects.get().auth_key


@pytest.mark.django_db(transaction=True)
def test_update_and_search_refuse_the_plain_text() -> None:
    account = save("one", "plain-key")
    attempts: list[Callable[[], Any]] = [
        lambda: ShellyAccount.objects.filter(pk=account.pk).update(auth_key="another"),
        lambda: ShellyAccount.objects.filter(auth_key="plain-key").exists(),
        lambda: ShellyAccount.objects.bulk_update([account], ["auth_key"]),
    ]
    for attempt in attempts:
        with pytest.raises(PlainSecret, match=r"save\(update_fields") as caught:
            attempt()
        assert "plain-key" not in str(caught.value)
    assert fresh(account).auth_key == "plain-key"


@pytest.mark.django_db
def test_bulk_create_and_save_encrypt_for_each_row() -> None:
    made = ShellyAccount.objects.bulk_create(
        ShellyAccount(name=name, server_url="http://127.0.0.1:1", auth_key=f"key-{name}") for name in ("a", "b")
    )
    one = fresh(made[0])
    one.auth_key = "later"
    one.save(update_fields=["auth_key"])
    assert [fresh(account).auth_key for account in made] == ["later", "key-b"]


@pytest.mark.django_db
def test_a_deferred_key_is_fetched_when_somebody_looks() -> None:
    save("one", "plain-key")
    assert ShellyAccount.objects.defer("auth_key").get().auth_key == "plain-key"
    assert ShellyAccount.objects.only("name").get().auth_key == "plain-key"
    with_key = ShellyAccount.objects.get()
    assert with_key.auth_key == "plain-key"
    ShellyAccount.objects.filter(pk=with_key.pk).update(name="renamed")
    with_key.refresh_from_db()
    assert (with_key.name, with_key.auth_key) == ("renamed", "plain-key")


@pytest.mark.django_db
def test_a_dump_holds_ciphertext_only() -> None:
    save("one", "plain-key")
    out = StringIO()
    call_command("dumpdata", "devices.shellyaccount", stdout=out)
    assert "plain-key" not in out.getvalue()
    assert json.loads(out.getvalue())[0]["fields"]["auth_key"].startswith("gAAAA")


# -- rotation


@pytest.mark.django_db
def test_rotation_makes_the_old_key_superfluous(settings: Any, django_user_model: Any) -> None:
    from allauth.mfa.models import Authenticator

    settings.FIELD_KEYS = [OLD]
    accounts = [save(name, f"key-{name}") for name in ("a", "b")]
    user = django_user_model.objects.create_user("boss@example.com", "a long password")
    factor = Authenticator.objects.create(
        user=user, type=Authenticator.Type.TOTP, data={"secret": secrets.encrypt("TOTPSECRET"), "digits": 6}
    )
    settings.FIELD_KEYS = [NEW, OLD]
    assert fresh(accounts[0]).auth_key == "key-a"
    with pytest.raises(CommandError, match="3 secrets still need an old key"):
        call_command("rotate_secrets", "--check", stdout=StringIO())
    assert secrets.needs_old_key(stored(accounts[0]))

    out = StringIO()
    call_command("rotate_secrets", stdout=out)
    assert "devices.shellyaccount.auth_key: 2 renewed" in out.getvalue()
    assert "mfa.authenticator.data: 1 renewed" in out.getvalue()
    assert AuditEvent.objects.get(kind="secrets_rotated").data["left"] == 0

    settings.FIELD_KEYS = [NEW]
    call_command("rotate_secrets", "--check", stdout=StringIO())
    assert [fresh(account).auth_key for account in accounts] == ["key-a", "key-b"]
    factor.refresh_from_db()
    assert secrets.decrypt(factor.data["secret"]) == "TOTPSECRET"


@pytest.mark.django_db
def test_rotation_leaves_what_it_cannot_read_and_says_so(settings: Any) -> None:
    settings.FIELD_KEYS = [OLD]
    lost = save("lost", "key-lost")
    settings.FIELD_KEYS = [NEW]
    before = stored(lost)
    with pytest.raises(CommandError, match="no key of HYGATE_FIELD_KEYS"):
        call_command("rotate_secrets", stdout=StringIO())
    assert stored(lost) == before


@pytest.mark.django_db
def test_rotation_does_not_undo_a_key_that_was_saved_meanwhile(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.FIELD_KEYS = [OLD]
    account = save("one", "key-before")
    settings.FIELD_KEYS = [NEW, OLD]
    seal = secrets.seal

    def seal_late(text: str, **where: Any) -> Any:
        if text == "key-before":
            one = fresh(account)
            one.auth_key = "key-after"
            one.save(update_fields=["auth_key"])
        return seal(text, **where)

    monkeypatch.setattr(rotation, "seal", seal_late)
    counts = {one.column: one for one in rotation.rotate()}
    assert counts["devices.shellyaccount.auth_key"].overtaken == 1
    assert fresh(account).auth_key == "key-after"


@pytest.mark.django_db(transaction=True)
def test_secrets_stay_readable_while_they_are_rotated(settings: Any) -> None:
    settings.FIELD_KEYS = [OLD]
    accounts = [save(f"account {number}", f"key {number}") for number in range(30)]
    settings.FIELD_KEYS = [NEW, OLD]
    seen: list[str] = []
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                for number, account in enumerate(accounts):
                    (seen if fresh(account).auth_key == f"key {number}" else wrong).append(account.name)
        except Exception as error:
            wrong.append(repr(error))
        finally:
            connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        rotation.rotate()
    finally:
        stop.set()
        reader.join()
    assert not wrong
    assert seen
    assert not any(secrets.needs_old_key(stored(account)) for account in accounts)
