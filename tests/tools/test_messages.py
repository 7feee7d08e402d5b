"""The guests' words: whole in every language, and a tool that cannot be fooled about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from django.conf import settings

from tools import messages

GERMAN = "Heute %(time)s"


@pytest.fixture(scope="module")
def said() -> Catalog:
    return messages.spoken()


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_a_language_says_everything_that_the_pages_say(said: Catalog, language: str) -> None:
    """Nothing is missing, fuzzy or with other placeholders, and what Django reads is what was translated."""
    assert messages.faults(language, said) == []


def test_the_languages_are_those_that_guests_can_choose() -> None:
    assert ["en", *messages.LANGUAGES] == [code for code, _name in settings.LANGUAGES]


def found(catalog: Catalog, id: str) -> Message:
    message = catalog.get(id)
    assert message is not None
    return message


def test_templates_and_python_are_read_alike(said: Catalog) -> None:
    assert found(said, "How much longer?").locations == [("templates/guest/extend_main.html", 0)]
    both = {("sessions_app/guest/line.py", 0), ("templates/guest/plans.html", 0)}
    assert set(found(said, "Choose a programme").locations) == both
    assert said.get("Help: %(phone)s") is not None
    assert found(said, "We asked once").pluralizable


def test_a_message_that_means_two_things_is_two_messages(said: Catalog) -> None:
    assert said.get("2nd", "place in line") is not None
    assert said.get("2nd") is None


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """A catalogue of one message, whole; ``messages.faults`` looks at it."""
    monkeypatch.setattr(messages, "po", lambda _language, _folder=None: tmp_path / "django.po")
    whole = Catalog(locale="de")
    whole.add("Today %(time)s", GERMAN)
    messages.write(whole, tmp_path / "django.po")
    assert messages.faults("de", english()) == []
    return whole


def english(*more: str) -> Catalog:
    catalog = Catalog()
    for text in ("Today %(time)s", *more):
        catalog.add(text)
    return catalog


def test_a_message_that_nobody_translated_is_named(catalogue: Catalog) -> None:
    assert "not in the catalogue" in messages.faults("de", english("Tomorrow"))[0]
    catalogue.add("Tomorrow", "")
    messages.write(catalogue, messages.po("de"))
    assert messages.faults("de", english("Tomorrow")) == ["not translated: 'Tomorrow'"]


def test_half_a_plural_is_not_translated_and_not_compiled(catalogue: Catalog) -> None:
    catalogue.add(("one day", "%(n)d days"), ("ein Tag", ""))
    messages.write(catalogue, messages.po("de"))
    both = english()
    both.add(("one day", "%(n)d days"))
    assert "not translated" in messages.faults("de", both)[0]
    assert ("", "one day", "%(n)d days") not in messages.compiled("de")


def test_a_fuzzy_message_is_named(catalogue: Catalog) -> None:
    catalogue["Today %(time)s"].flags.add("fuzzy")
    messages.write(catalogue, messages.po("de"))
    assert "fuzzy" in messages.faults("de", english())[0]


@pytest.mark.parametrize("wrong", ["Heute", "Heute %(zeit)s", "Heute %(time)s %(wait)s"])
def test_other_placeholders_are_named(catalogue: Catalog, wrong: str) -> None:
    catalogue["Today %(time)s"].string = wrong
    messages.write(catalogue, messages.po("de"))
    assert "other placeholders" in messages.faults("de", english())[0]


def test_a_compiled_catalogue_that_was_left_behind_is_named(catalogue: Catalog) -> None:
    path = messages.po("de")
    path.write_text(path.read_text().replace(GERMAN, "Heute um %(time)s"))
    assert messages.faults("de", english()) == ["django.mo is not what django.po says (make messages)"]


def test_what_is_no_longer_said_leaves_and_what_is_new_comes_empty(catalogue: Catalog) -> None:
    fresh = Catalog()
    fresh.add("Tomorrow")
    merged = messages.merged("de", fresh)
    assert merged.get("Today %(time)s") is None
    assert found(merged, "Tomorrow").string == ""


def test_collecting_twice_changes_no_file(catalogue: Catalog) -> None:
    path = messages.po("de")
    messages.write(messages.merged("de", english()), path)
    before = path.read_bytes(), path.with_suffix(".mo").read_bytes()
    messages.write(messages.merged("de", english()), path)
    assert (path.read_bytes(), path.with_suffix(".mo").read_bytes()) == before


def test_the_pseudo_language_is_two_fifths_longer_and_keeps_its_placeholders() -> None:
    longer = messages.longer("You get %(back)s back if you stop now")
    assert longer.startswith("Ýöü gét %(back)s báçk")
    assert len(longer) >= 1.4 * len("You get  back if you stop now") + len("%(back)s")
    assert messages.PSEUDO not in dict(settings.LANGUAGES)
