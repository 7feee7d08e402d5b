"""Keys of energy sources grow old and their certificates end: somebody is told in time, and only while it is so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from devices.energy import key_ages, saving
from devices.energy.models import EnergySource, SourceKind
from devices.models import Location
from hygate import clock
from hygate.models import Alert, AuditEvent
from hygate.simulators.sigenergy.certificates import Certificates
from sessions_app.dashboard import security
from sessions_app.dashboard.energy_forms import FORMS

pytestmark = pytest.mark.django_db
SECRETS = {
    SourceKind.SIGENERGY_OPENAPI: {"app_key": "a", "app_secret": "b"},
    SourceKind.RENOGY: {"access_key": "a", "secret_key": "b"},
}


def added(kind: SourceKind, **secrets: str) -> EnergySource:
    place = Location.objects.create(name="Roof")
    return saving.add_source(
        columns={"location": place, "name": "Plant", "kind": kind}, secrets=SECRETS.get(kind, {}) | secrets, by="user:1"
    )


def with_certificate(days: float) -> EnergySource:
    made = Certificates.made(client_until=datetime.now(clock.now().tzinfo) + timedelta(days=days, hours=1))
    secrets = {"app_key": "a", "app_secret": "b", "certificate_pem": made.client_pem, "key_pem": made.client_key_pem}
    return added(SourceKind.SIGENERGY_MQTT, **secrets)


def alerts() -> list[tuple[str, str]]:
    key_ages.watch(clock.now())
    return list(Alert.objects.filter(closed_at=None).order_by("kind").values_list("kind", "severity"))


def aged(days: int) -> None:
    AuditEvent.objects.update(at=clock.now() - timedelta(days=days))


# -- keys


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize(("days", "told"), [(74, []), (75, [("key_age", "warning")]), (90, [("key_age", "error")])])
def test_old_keys_are_told_of_by_the_same_numbers_as_shellys(kind: SourceKind, days: int, told: list[Any]) -> None:
    added(kind)
    aged(days)
    assert alerts() == told


def test_a_new_key_ends_the_alert_at_once_and_the_bridges_password_does_not() -> None:
    source = added(SourceKind.RENOGY)
    aged(80)
    assert alerts() == [("key_age", "warning")]
    saving.change_source(source, columns={}, secrets={"bridge_password": "p"}, by="user:1")
    assert alerts() == [("key_age", "warning")]
    saving.change_source(source, columns={}, secrets={"secret_key": "c"}, by="user:1")
    assert not Alert.objects.filter(closed_at=None).exists()
    assert alerts() == []


def test_a_source_that_is_gone_leaves_no_alert() -> None:
    source = added(SourceKind.RENOGY)
    aged(80)
    assert alerts() == [("key_age", "warning")]
    saving.delete_source(source, by="user:1")
    assert alerts() == []


def test_modbus_has_no_keys() -> None:
    added(SourceKind.SIGENERGY_MODBUS)
    aged(400)
    assert alerts() == []


def test_every_secret_that_ages_is_one_of_its_form() -> None:
    for kind, form in FORMS.items():
        assert key_ages.KEYS.get(kind, frozenset()) <= set(form.secret_names)
        assert bool(key_ages.KEYS.get(kind)) == bool(form.secret_names)


# -- certificates


@pytest.mark.parametrize(
    ("days", "told"),
    [(31, []), (29, [("energy_certificate", "warning")]), (6, [("energy_certificate", "error")])],
)
def test_a_certificate_is_told_of_before_it_ends(days: float, told: list[Any]) -> None:
    with_certificate(days)
    assert alerts() == told


def test_a_certificate_that_is_over_stays_told_of() -> None:
    source = with_certificate(2)
    until = key_ages.certificate_ends(source, clock.now())
    assert until is not None
    key_ages.watch(clock.now() + timedelta(days=5))
    assert Alert.objects.get(closed_at=None).title.endswith(f"{until.at:%-d %b %Y}")


def test_a_new_certificate_ends_the_alert() -> None:
    source = with_certificate(3)
    assert alerts() == [("energy_certificate", "error")]
    fresh = Certificates.made()
    saving.change_source(source, columns={}, secrets={"certificate_pem": fresh.client_pem}, by="user:1")
    assert not Alert.objects.filter(closed_at=None).exists()
    assert alerts() == []


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_a_certificate_that_cannot_be_read_stops_nothing(text: str) -> None:
    source = added(SourceKind.SIGENERGY_MQTT, app_key="a", app_secret="b", certificate_pem=text)
    assert key_ages.certificate_ends(source, clock.now()) is None
    assert alerts() == []


def test_the_security_page_shows_until_when_it_is_good() -> None:
    with_certificate(20)
    (key,) = (one for one in security.every_key(clock.now()) if "Plant" in one.name)
    assert (key.days, key.tone) == (0, "hold")
    assert key.advice.startswith("Its client certificate is good until ")
