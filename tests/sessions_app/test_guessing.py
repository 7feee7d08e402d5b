"""Guessed codes and links: told nothing, and slowed; nobody who has a link is kept from his machine."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from tests.world import World

HOME, ELSEWHERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture(autouse=True)
def _fresh_cache(world: World) -> None:
    cache.clear()


def get(path: str, address: str = ELSEWHERE) -> Any:
    return Client().get(path, REMOTE_ADDR=address)


def test_whoever_guesses_codes_has_to_wait_and_finds_none_meanwhile(world: World) -> None:
    assert [get(f"/d/X{number:04d}/").status_code for number in range(40)] == [404] * 40
    found = get("/d/WASH1/")
    assert found.status_code == 429
    assert 1 <= int(found["Retry-After"]) <= 61  # the first of the forty may have been a while ago
    assert "Scan the label again in" in found.content.decode()
    assert "Washer 1" not in found.content.decode()
    assert get("/d/WASH1/", HOME).status_code == 200


def test_guessed_links_are_slowed_and_a_real_one_still_works(world: World) -> None:
    session = world.hold()
    answers = [get(f"/session/{'x' * 40}{number}/").status_code for number in range(42)]
    assert answers == [404] * 40 + [429] * 2
    assert get(f"/session/{session.token}/").status_code == 200


def test_known_codes_cost_nothing_however_often_they_are_read(world: World) -> None:
    assert {get("/d/WASH1/").status_code for _ in range(50)} == {200}


def said(response: Any) -> str:
    """The page but for its language form's hidden fields: one is drawn by lot, one is the address that was asked."""
    return re.sub(r'<input type="hidden"[^>]*>', "", response.content.decode())


@pytest.mark.parametrize("path", ["/session/{token}x/", "/session/{reference}/", "/session/1/"])
def test_every_wrong_link_gets_the_same_answer(world: World, path: str) -> None:
    session = world.hold()
    wrong = get(path.format(token=session.token, reference=session.reference))
    other = get("/session/nothing-like-it/")
    assert wrong.status_code == other.status_code == 404
    assert said(wrong) == said(other)
