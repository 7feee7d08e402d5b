"""What a guest who waits reads and may do: one tap to join, the place, the turn, and a link that opens only that."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any
from unittest.mock import Mock

import pytest
from django.core import mail as outbox
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.test import Client
from django.utils.html import strip_tags

from devices.models import Device
from hygate.models import User
from sessions_app import services
from sessions_app.models import DeviceSession, GuestMail, QueueEntry
from sessions_app.queue import rules
from sessions_app.queue import services as queue
from sessions_app.queue.models import Place
from sessions_app.states import State
from tests.world import STRIP, World

LABEL = "/d/WASH1/"


@pytest.fixture(autouse=True)
def _fresh_cache(world: World) -> None:
    cache.clear()


def words(response: Any) -> str:
    body = re.sub(r"<head>.*?</head>", " ", response.content.decode(), flags=re.DOTALL)
    return re.sub(
        r"\s+", " ", unescape(strip_tags(re.sub(r"</(?:p|dt|dd|li|h1|h2)>", " ", body))).replace("\u00a0", " ")
    )


def read(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, response.status_code
    return words(response)


def join(client: Client, **more: Any) -> str:
    """Tap *Wait in line*; answers the link."""
    response = client.post(f"{LABEL}line/", **more)
    assert response.status_code == 303
    link = str(response["Location"])
    assert link.startswith("/line/")
    return link


def offered(world: World) -> tuple[Client, str]:
    world.hold()
    client = Client()
    link = join(client)
    free(world)
    return client, link


def free(world: World) -> None:
    for session in DeviceSession.objects.filter(state=State.HELD):
        services.cancel_by_guest(session)
    world.go(2)


# -- joining


def test_a_device_in_use_offers_to_wait_with_one_tap(world: World) -> None:
    world.hold()
    client = Client()
    page = client.get(LABEL)
    assert "Wait in line" in words(page)
    assert "Waiting is free and needs no account. When it is your turn we keep Washer 1 for you" in words(page)
    assert f'<form method="post" action="{LABEL}line/">' in page.content.decode()
    queue.join(world.device)
    queue.join(world.device)
    assert "2 people wait before you" in read(client, LABEL)


def test_a_device_that_is_not_in_use_offers_no_line(world: World) -> None:
    assert "Wait in line" not in read(Client(), LABEL)
    Device.objects.update(maintenance_since=world.now)
    assert "Wait in line" not in read(Client(), LABEL)
    response = Client().post(f"{LABEL}line/")
    assert (response.status_code, response["Location"]) == (303, LABEL)
    assert not QueueEntry.objects.exists()


def test_the_label_leads_a_phone_back_to_its_place_and_joining_twice_is_one_place(world: World) -> None:
    world.hold()
    client = Client()
    link = join(client)
    back = client.get(LABEL)
    assert (back.status_code, back["Location"]) == (303, link)
    assert join(client) == link
    assert QueueEntry.objects.count() == 1
    assert "1 person waits before you" in read(Client(), LABEL)


def test_who_has_the_device_does_not_wait_for_it(world: World) -> None:
    session = world.hold()
    client = Client()
    client.get(f"/session/{session.token}/")
    response = client.post(f"{LABEL}line/")
    assert (response.status_code, response["Location"]) == (303, LABEL)
    assert not QueueEntry.objects.exists()


def test_a_full_line_says_so(world: World) -> None:
    world.hold()
    for _ in range(rules.MOST_IN_LINE):
        queue.join(world.device)
    text = read(Client(), LABEL)
    assert "The line is full" in text
    assert "Wait in line" not in text
    response = Client().post(f"{LABEL}line/")
    assert (response.status_code, response["Location"]) == (303, LABEL)


def test_one_address_does_not_fill_a_line(world: World) -> None:
    world.hold()
    for _ in range(6):
        join(Client())
    refused = Client().post(f"{LABEL}line/")
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert "You can wait for Washer 1 again in about" in words(refused)
    assert QueueEntry.objects.count() == 6
    join(Client(), REMOTE_ADDR="192.0.2.9")


# -- waiting


def test_the_place_in_line_and_a_guess_of_the_time(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(10)
    DeviceSession.objects.update(ends_at=world.now + timedelta(minutes=18))
    world.plan.duration_s, world.plan.grace_s = 3300, 300
    world.plan.save(update_fields=["duration_s", "grace_s"])
    first, second = Client(), Client()
    one, two = join(first), join(second)
    text = read(first, one)
    assert "Your turn at about 13:18" in text
    assert re.search(r"1st\s+in line", text)
    assert "Waiting costs nothing. You pay when it is your turn." in text
    assert "You can close this page." in text
    text = read(second, two)
    assert "Your turn at about 14:18" in text
    assert re.search(r"2nd\s+in line", text)
    assert "<title>2nd in line · Washer 1</title>" in second.get(two).content.decode()


def test_without_a_guess_the_page_names_no_time(world: World) -> None:
    world.hold()
    client = Client()
    page = client.get(join(client))
    assert "You are 1st in line" in words(page)
    assert "about" not in words(page)
    assert "data-ends" not in page.content.decode()


def test_a_device_taken_out_of_service_says_so_in_line(world: World) -> None:
    world.hold()
    client = Client()
    link = join(client)
    free(world)
    Device.objects.update(maintenance_since=world.now)
    assert "We do not know yet when it is back." in read(client, link)


# -- told by mail


@pytest.fixture
def mails(settings: Any) -> None:
    settings.SENDS_MAIL = True


def tell(client: Client, link: str, address: str = "guest@phone.example") -> Any:
    return client.post(f"{link}tell/", {"email": address})


def test_who_waits_asks_to_be_written_to_and_is_when_the_turn_comes(world: World, mails: None) -> None:
    world.hold()
    client = Client()
    link = join(client)
    assert "Write to me when it is my turn" in read(client, link)
    answer = tell(client, link)
    assert (answer.status_code, answer["Location"]) == (303, link)
    text = read(client, link)
    assert "You get an e-mail when it is your turn." in text
    assert "Write to me when" not in text
    world.go(30)
    assert outbox.outbox == []
    free(world)
    world.go(3)
    (sent,) = outbox.outbox
    assert sent.to == ["guest@phone.example"]
    assert link in sent.body
    assert GuestMail.objects.get().address == ""
    assert "Write to me" not in read(client, link)


@pytest.mark.parametrize(("step", "place"), [("leave", Place.LEFT), ("choose", Place.TAKEN)])
def test_who_is_gone_is_not_written_to_and_forgotten(
    world: World, mails: None, monkeypatch: pytest.MonkeyPatch, step: str, place: Place
) -> None:
    world.hold()
    client = Client()
    link = join(client)
    tell(client, link)
    monkeypatch.setattr(EmailMessage, "send", Mock(side_effect=OSError("down")))
    free(world)
    assert GuestMail.objects.get().address
    client.post(f"{link}{step}/", {"plan": world.plan.pk})
    assert QueueEntry.objects.get().place == place
    mail = GuestMail.objects.get()
    assert (mail.address, mail.due_at, mail.given_up_at is not None) == ("", None, True)


def test_a_wrong_address_brings_the_form_alone_and_no_mail_server_no_form(
    world: World, mails: None, settings: Any
) -> None:
    world.hold()
    client = Client()
    link = join(client)
    wrong = tell(client, link, "nobody")
    assert wrong.status_code == 422
    assert "This is not an e-mail address." in words(wrong)
    assert "Back to my place in line" in words(wrong)
    settings.SENDS_MAIL = False
    assert "Write to me" not in read(client, link)
    assert tell(client, link).status_code == 303
    assert not GuestMail.objects.exists()


def test_leaving_frees_the_place(world: World) -> None:
    world.hold()
    client = Client()
    link = join(client)
    response = client.post(f"{link}leave/")
    assert (response.status_code, response["Location"]) == (303, link)
    text = read(client, link)
    assert "You left the line" in text
    assert "Nothing was charged." in text
    assert "Wait in line" in read(client, LABEL)
    assert join(client) != link


def test_asking_again_costs_nothing_until_there_is_news(world: World) -> None:
    world.hold()
    client = Client()
    link = join(client)
    asks = {"X-Requested-With": "hygate"}
    first = client.get(link, headers=asks)
    assert first.content.decode().startswith("<main")
    asks["If-None-Match"] = first["ETag"]
    assert client.get(link, headers=asks).status_code == 304
    free(world)
    news = client.get(link, headers=asks)
    assert news.status_code == 200
    assert "Washer 1 is kept for you" in words(news)


def test_a_place_is_kept_and_told_by_nobody(world: World) -> None:
    world.hold()
    client = Client()
    link = join(client)
    for path in (link, "/line/unknown/"):
        response = client.get(path)
        assert (response["Cache-Control"], response["Referrer-Policy"]) == ("no-store", "no-referrer")
        assert response["X-Robots-Tag"] == "noindex"
    assert client.get("/line/unknown/").status_code == 404
    assert client.post(f"{link[:-2]}/leave/").status_code == 404
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", client.get(link).content.decode())


# -- the turn


def test_when_it_is_your_turn_the_page_counts_down_and_offers_the_programmes(world: World) -> None:
    client, link = offered(world)
    page = client.get(link)
    text = words(page)
    assert "Washer 1 is kept for you" in text
    assert "Nothing is charged yet." in text
    assert "After that the next person in line gets it." in text
    assert 'data-total="300000"' in page.content.decode()
    assert f'href="{link}choose/"' in page.content.decode()
    plans = client.get(f"{link}choose/")
    assert "Pay €2.50 and start" in words(plans)
    assert "Kept for you until" in words(plans)


def test_the_holder_buys_by_the_link_alone_and_the_link_leads_to_the_session(world: World) -> None:
    """No cookie is needed: another phone with the link does it too."""
    _, link = offered(world)
    phone = Client()
    paying = phone.post(f"{link}choose/", {"plan": world.plan.pk})
    assert paying.status_code == 303
    assert paying["Location"].startswith(world.stripe_server.url)
    session = DeviceSession.objects.get(state=State.HELD)
    assert QueueEntry.objects.get().session == session
    assert Client().get(link)["Location"] == f"/session/{session.token}/"
    assert "Continue to pay €2.50" in read(phone, LABEL)


def test_a_passer_by_reads_that_it_is_kept_and_may_join(world: World) -> None:
    offered(world)
    stranger = Client()
    text = read(stranger, LABEL)
    assert re.search(r"Kept until \d\d:\d\d for a guest who waited in line\.", text)
    assert "1 person waits before you" in text
    assert "Pay €" not in text
    refused = stranger.post(LABEL, {"plan": world.plan.pk})
    assert refused.status_code == 409
    assert not DeviceSession.objects.filter(state=State.HELD).exists()
    link = join(stranger)
    assert re.search(r"2nd\s+in line", read(stranger, link))
    sneaky = stranger.post(f"{link}choose/", {"plan": world.plan.pk})
    assert (sneaky.status_code, sneaky["Location"]) == (303, link)
    assert not DeviceSession.objects.filter(state=State.HELD).exists()


def test_a_page_that_still_sells_leads_the_holder_to_the_offer(world: World) -> None:
    client, link = offered(world)
    response = client.post(LABEL, {"plan": world.plan.pk})
    assert (response.status_code, response["Location"]) == (303, link)


def test_five_more_minutes_are_offered_once(world: World) -> None:
    client, link = offered(world)
    assert "I need 5 min more" in read(client, link)
    client.post(f"{link}longer/")
    page = client.get(link)
    assert "I need 5 min more" not in words(page)
    assert 'data-total="600000"' in page.content.decode()


def test_time_that_ran_out_is_said_with_the_money_first(world: World) -> None:
    client, link = offered(world)
    until = QueueEntry.objects.get().offer_ends_at
    assert until is not None
    world.manual.set(until)
    assert "The time to choose is over" in read(client, link)
    assert client.get(f"{link}choose/")["Location"] == link
    Device.objects.update(seen_at=world.now)
    world.go(2)
    assert QueueEntry.objects.get().place == Place.LAPSED
    text = read(client, link)
    assert "Your time to choose ran out" in text
    assert "Nothing was charged." in text


def test_an_offer_on_a_device_that_stopped_answering_says_that_the_place_stays(world: World) -> None:
    client, link = offered(world)
    Device.objects.update(online=False)
    text = read(client, link)
    assert "Washer 1 does not answer us right now." in text
    assert "you stay first in line" in text
    assert "Choose a programme" not in text


def test_reading_changes_nothing(world: World) -> None:
    client, link = offered(world)
    before = QueueEntry.objects.values().get()
    for step in ("", "choose/"):
        client.get(f"{link}{step}")
    assert [client.get(f"{link}{step}/").status_code for step in ("leave", "longer")] == [405, 405]
    assert client.get(f"{LABEL}line/")["Location"] == LABEL
    assert QueueEntry.objects.values().get() == before


# -- staff


def test_the_devices_page_says_how_many_wait(world: World, client: Client) -> None:
    staff = User.objects.create(email="operator@example.com", is_staff=True)
    client.force_login(staff)
    page = f"/dashboard/devices/{world.device.pk}/"
    assert "in line" not in read(client, page)
    world.hold()
    queue.join(world.device)
    assert "1 guest waits in line" in read(client, page)


def test_others_of_the_kind_say_that_they_are_kept(world: World) -> None:
    other = world.add_device(STRIP, 0, "Washer 2", "WASH2")
    world.add_plan(other)
    world.go(35)
    offered(world)
    Device.objects.filter(pk=other.pk).update(maintenance_since=world.now)
    assert "Kept until" in read(Client(), "/d/WASH2/")
