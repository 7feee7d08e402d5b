"""Guests are spoken to in their language, staff in English; amounts, times and numbers as each language has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as site
from django.test import Client
from django.utils import translation

from devices.models import Device, DeviceCode, DeviceKind, Location, ShellyAccount, UsagePlan
from hygate import clock
from hygate.models import Role, SiteSettings, User
from sessions_app.guest import words
from sessions_app.payments import checkout
from tools import messages

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TITLES = {
    "en": "Free now",
    "de": "Jetzt frei",
    "fr": "Libre",
    "it": "Libero ora",
    "es": "Libre ahora",
    "nl": "Nu vrij",
}


@pytest.fixture(autouse=True)
def _static_files_need_no_collecting(settings: Any, tmp_path: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)


@pytest.fixture
def label(db: None, manual_clock: clock.ManualClock) -> str:
    """The address of a free device with one plan of €3.60."""
    location = Location.objects.create(name="Seaside Camping", timezone="Europe/Vienna")
    account = ShellyAccount.objects.create(name="demo", server_url="http://127.0.0.1:1", auth_key="key")
    device = Device.objects.create(
        location=location, account=account, shelly_id="abc", name="Washer 1", kind=DeviceKind.WASHER,
        online=True, seen_at=clock.now(),
    )  # fmt: skip
    DeviceCode.objects.create(device=device, code="W17Q4")
    UsagePlan.objects.create(device=device, name="Everyday", duration_s=3600, grace_s=300, price_minor=360)
    return "/d/W17Q4/"


def page(client: Client, address: str, **headers: str) -> str:
    body = client.get(address, headers=headers).content.decode()
    return body.replace("\u00a0", " ")


@pytest.mark.parametrize(("language", "free"), TITLES.items())
def test_the_page_speaks_what_the_phone_asks_for(client: Client, label: str, language: str, free: str) -> None:
    response = client.get(label, headers={"accept-language": f"{language}-XX,{language};q=0.9,en;q=0.5"})
    body = response.content.decode()
    assert f'<html lang="{language}">' in body
    assert free in body
    assert response["Content-Language"] == language
    assert {"Accept-Language", "Cookie"} <= {one.strip() for one in response["Vary"].split(",")}


def test_a_language_that_we_do_not_speak_gets_english(client: Client, label: str) -> None:
    assert "Free now" in page(client, label, **{"accept-language": "pl,ja;q=0.8"})


def test_the_operators_words_stay_as_they_are(client: Client, label: str) -> None:
    german = page(client, label, **{"accept-language": "de"})
    for own in ("Washer 1", "Seaside Camping", "Everyday, 60 min"):
        assert own in german


def test_amounts_follow_the_language(client: Client, label: str) -> None:
    assert "3,60 € zahlen und starten" in page(client, label, **{"accept-language": "de"})


@pytest.mark.parametrize("method", ["form without a script"])
def test_the_switch_is_remembered_and_leads_back(label: str, method: str) -> None:
    client = Client(enforce_csrf_checks=True)
    body = page(client, label, **{"accept-language": "en"})
    token = body.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    sent = {"language": "nl", "next": label, "csrfmiddlewaretoken": token}
    response = client.post("/language/", sent)
    assert (response.status_code, response["Location"]) == (303, label)
    assert response.cookies[site.LANGUAGE_COOKIE_NAME]["httponly"]
    assert "Nu vrij" in page(client, label, **{"accept-language": "en"})


def test_every_guest_page_offers_the_six_languages(client: Client, label: str) -> None:
    for address in (label, "/d/ZZZZZ/", "/session/unknown/", "/nothing-here/"):
        body = page(client, address)
        assert all(f'value="{code}" lang="{code}"' in body for code in TITLES), address
        assert 'value="en" lang="en" aria-current="true"' in body


def test_an_unknown_language_is_not_remembered(client: Client, db: None) -> None:
    assert site.LANGUAGE_COOKIE_NAME not in client.post("/language/", {"language": "xx", "next": "/d/A/"}).cookies


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "/\\evil.example/", "/dashboard/", "", "javascript:alert(1)", "/no/"],
)
def test_the_switch_leads_nowhere_else(client: Client, db: None, elsewhere: str) -> None:
    assert client.post("/language/", {"language": "de", "next": elsewhere})["Location"] == "/"


def test_staff_read_english_whatever_their_browser_says(client: Client, db: None) -> None:
    SiteSettings.objects.create(pk=1)  # a site that nobody has touched leads to Setup
    client.force_login(User.objects.create_user("a@example.com", "x", role=Role.ADMINISTRATOR, is_staff=True))
    client.cookies[site.LANGUAGE_COOKIE_NAME] = "de"
    for address in ("/dashboard/", "/dashboard/sessions/", "/account/security/"):
        response = client.get(address, headers={"accept-language": "de"})
        assert response.status_code == 200
        assert '<html lang="en">' in response.content.decode()
        assert "Content-Language" not in response
    assert "Geräte" not in client.get("/dashboard/").content.decode()


def test_a_refused_form_is_said_in_the_guests_language(label: str) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post(label, {"plan": "1"}, headers={"accept-language": "fr"})
    assert response.status_code == 403
    assert "Rien n’a été changé" in response.content.decode()


def test_the_payment_page_is_asked_for_in_the_language_of_the_page(
    client: Client, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def remember(order: Any) -> str:
        asked.append(order.checkout_params)
        return "https://checkout.stripe.com/c/pay/cs_1"

    monkeypatch.setattr(checkout, "open_checkout", remember)
    client.post(label, {"plan": UsagePlan.objects.get().pk}, headers={"accept-language": "it"})
    assert '"locale": "it"' in asked[0] or '"locale":"it"' in asked[0]


# -- spelling


@pytest.mark.parametrize(
    ("language", "euros", "francs", "yen"),
    [
        ("en", "€1,234.50", "CHF 3.60", "JPY 500"),
        ("de", "1.234,50 €", "3,60 CHF", "500 JPY"),
        ("fr", "1 234,50 €", "3,60 CHF", "500 JPY"),
        ("it", "1.234,50 €", "3,60 CHF", "500 JPY"),
        ("es", "1 234,50 €", "3,60 CHF", "500 JPY"),
        ("nl", "€ 1.234,50", "CHF 3,60", "JPY 500"),
    ],
)
def test_money_is_spelled_as_the_language_has_it(language: str, euros: str, francs: str, yen: str) -> None:
    with translation.override(language):
        said = words.money(123450, "eur"), words.money(360, "chf"), words.money(500, "jpy")
    assert tuple(one.replace("\u00a0", " ") for one in said) == (euros, francs, yen)
    assert all(" " not in one for one in said), "an amount and its sign part at a line's end"


@pytest.mark.parametrize(
    ("language", "number", "length", "day"),
    [
        ("en", "1,840", "2 hours", "13:00, Sun 22 Nov"),
        ("de", "1.840", "2 Stunden", "So, 22. Nov, 13:00"),
        ("fr", "1 840", "2 heures", "13:00, dim 22 nov"),
        ("it", "1.840", "2 ore", "13:00, dom 22 nov"),
        ("es", "1 840", "2 horas", "13:00, dom 22 nov"),
        ("nl", "1.840", "2 uur", "13:00, zo 22 nov"),
    ],
)
def test_numbers_lengths_and_days_follow_the_language(language: str, number: str, length: str, day: str) -> None:
    with translation.override(language):
        said = words.number(1840), words.span(7200), words.at(NOW + timedelta(days=1), "Europe/Vienna", NOW)
    assert tuple(one.replace("\u00a0", " ") for one in said) == (number, length, day)


def test_times_are_those_of_the_place_in_every_language() -> None:
    for language in TITLES:
        with translation.override(language):
            assert words.at(NOW, "Europe/Vienna", NOW) == "13:00"
            assert words.at(NOW, "America/New_York", NOW, seconds=True) == "07:00:00"


def test_a_zone_is_named_by_its_city_in_the_guests_language() -> None:
    with translation.override("de"):
        assert words.zone("Europe/Vienna") == "Ortszeit Wien"
        assert words.zone("America/Port_of_Spain") == "Ortszeit Port of Spain"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Deep clean", "Deep clean, 90\u00a0min"),
        ("Deep clean, 90 min", "Deep clean, 90\u00a0min"),
        ("90 MIN of heat", "90\u00a0MIN of heat"),
        ("", "90\u00a0min"),
    ],
)
def test_a_plans_length_stands_once_and_never_parts_at_a_lines_end(written: str, said: str) -> None:
    assert words.programme(written, 5400) == said


@pytest.mark.parametrize(
    ("language", "delivered", "safe", "begin"),
    [
        ("de", "2\u00a0Stunden geliefert", "Ihre 2\u00a0Stunden bleiben Ihnen", "Ihre 2\u00a0Stunden beginnen"),
        ("it", "Fornito: 2\u00a0ore", "2\u00a0ore restano al sicuro", "Iniziano 2\u00a0ore"),
        ("es", "Entregado: 2\u00a0horas", "Sus 2\u00a0horas están a salvo", "Empiezan sus 2\u00a0horas"),
    ],
)
def test_sentences_about_minutes_are_right_about_hours_too(
    language: str, delivered: str, safe: str, begin: str
) -> None:
    with translation.override(language):
        time = {"time": words.span(7200)}
        said = [translation.gettext(one) % time for one in ("%(time)s delivered", "Your %(time)s are safe")]
        assert [*said, translation.gettext("Your %(time)s begin") % time] == [delivered, safe, begin]


@pytest.mark.parametrize(("language", "said"), [("it", "È il prossimo"), ("es", "Usted es el siguiente")])
def test_who_is_next_is_not_told_that_it_is_the_turn(language: str, said: str) -> None:
    with translation.override(language):
        assert translation.gettext("You are next") == said


def test_a_german_time_and_its_uhr_never_part_at_a_lines_end() -> None:
    assert not [one.string for one in messages.read("de") if ")s Uhr" in str(one.string)]


@pytest.mark.parametrize(
    ("seconds", "said"), [(20, "20 s"), (2112, "35:12 min"), (3600, "60 min"), (7184, "1:59:44 h"), (7200, "2 hours")]
)
def test_a_length_is_said_exactly_and_as_the_ring_counts_it(seconds: int, said: str) -> None:
    assert words.span(seconds).replace(words.NBSP, " ") == said
