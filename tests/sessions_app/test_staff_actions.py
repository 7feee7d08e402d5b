"""What staff do to a session: who may, once each, written down, and what it does to relay, minutes and money."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.models import RelayAttempt, RelayCommand
from devices.relays.models import CommandState
from hygate.models import AuditEvent, Role, SiteSettings, User
from sessions_app import services
from sessions_app.dashboard.sessions import ACTIONS
from sessions_app.models import DeviceSession
from sessions_app.states import Reason, State
from tests.world import World

KINDS = {
    "mark-failed": "marked_failed",
    "force-end": "force_end",
    "retry": "retry_activation",
    "minutes": "minutes_added",
    "start": "start_now",
    "stop": "stop_requested",
}


@pytest.fixture
def admin(transactional_db: None) -> User:
    SiteSettings.objects.get_or_create(pk=1)
    return User.objects.create(email="admin@example.com", role=Role.ADMINISTRATOR, first_name="Ada")


@pytest.fixture
def operator(admin: User) -> User:
    return User.objects.create(email="otto@example.com", role=Role.OPERATOR, first_name="Otto")


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def in_grace(world: World) -> DeviceSession:
    session = world.buy()
    world.tell(session)
    return fresh(session, State.GRACE)


def running(world: World) -> DeviceSession:
    session = in_grace(world)
    world.go(12)
    return fresh(session, State.RUNNING)


def unanswered(world: World) -> DeviceSession:
    """Its ON waits for the next round: somebody has unplugged the relay."""
    session = in_grace(world)
    plugged(world, False)
    for _ in range(60):
        world.go(1)
        if RelayCommand.objects.filter(state=CommandState.QUEUED, rounds__gte=1, next_at__gt=world.now).exists():
            break
    return fresh(session, State.STARTING)


def plugged(world: World, is_online: bool) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{world.device.shelly_id}", {"online": is_online})


STAGES = {"start": in_grace, "retry": unanswered}


def fresh(session: DeviceSession, state: State) -> DeviceSession:
    session.refresh_from_db()
    assert session.state == state
    return session


def form(session: DeviceSession, **fields: Any) -> dict[str, Any]:
    return {"reason": "The guest asked", "minutes": "5", "seen_s": str(session.duration_s)} | fields


def ask(user: User, key: str, session: DeviceSession, **fields: Any) -> Any:
    return browser(user).post(reverse(f"dashboard:session_{key}", args=[session.pk]), form(session, **fields))


def events(session: DeviceSession, key: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(session=session.pk, kind=KINDS[key], actor__startswith="user:"))


def test_this_file_knows_every_action() -> None:
    assert {one.key for one in ACTIONS} == set(KINDS)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda one: one.key)
def test_who_may_does_it_and_it_says_who_and_why(world: World, operator: User, admin: User, action: Any) -> None:
    session = STAGES.get(action.key, running)(world)
    before = (session.state, AuditEvent.objects.count())
    refused = ask(operator, action.key, session) if action.perm == "administrator" else None
    if refused is not None:
        session.refresh_from_db()
        assert (refused.status_code, (session.state, AuditEvent.objects.count())) == (403, before)
    user = admin if action.perm == "administrator" else operator
    assert ask(user, action.key, session).status_code == 303
    (told,) = events(session, action.key)
    assert (told.actor, told.data["reason"]) == (f"user:{user.pk}", "The guest asked")


@pytest.mark.parametrize("key", [key for key in KINDS if key != "retry"])
def test_the_second_of_two_clicks_does_nothing(world: World, admin: User, key: str) -> None:
    """Both forms were opened before either was sent."""
    session = STAGES.get(key, running)(world)
    seen = form(session)
    assert ask(admin, key, session, **seen).status_code == 303
    state = DeviceSession.objects.values("state", "duration_s", "ends_at").get(pk=session.pk)
    assert ask(admin, key, session, **seen).status_code == 303
    assert DeviceSession.objects.values("state", "duration_s", "ends_at").get(pk=session.pk) == state
    assert len(events(session, key)) == 1


@pytest.mark.parametrize("key", KINDS)
def test_without_a_reason_nothing_is_done(world: World, admin: User, key: str) -> None:
    session = STAGES.get(key, running)(world)
    assert ask(admin, key, session, reason=" ").status_code == 422
    assert events(session, key) == []


def test_what_is_over_is_left_alone_by_every_action(world: World, admin: User) -> None:
    session = running(world)
    world.go(60)
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    count = AuditEvent.objects.count()
    for key in KINDS:
        assert (
            "nothing was done"
            in browser(admin)
            .post(reverse(f"dashboard:session_{key}", args=[session.pk]), form(session), follow=True)
            .content.decode()
        )
    assert AuditEvent.objects.filter(actor__startswith="user:").count() == 0
    assert AuditEvent.objects.count() == count


# -- what each does


def test_start_now_leaves_out_the_rest_of_the_grace_period(world: World, operator: User) -> None:
    session = in_grace(world)
    assert ask(operator, "start", session).status_code == 303
    world.go(2)
    fresh(session, State.RUNNING)
    assert session.started_at is not None
    assert session.grace_ends_at is not None
    assert session.started_at < session.grace_ends_at
    assert session.duration_s == 20, "the guest has every second that was paid for"


def test_added_minutes_move_the_end_and_arm_the_relay_anew(world: World, operator: User) -> None:
    session = running(world)
    ends_at = session.ends_at
    assert ends_at is not None
    assert ask(operator, "minutes", session, minutes="1").status_code == 303
    world.go(3)
    session.refresh_from_db()
    assert (session.duration_s, session.ends_at) == (80, ends_at + timedelta(seconds=60))
    armed = RelayAttempt.objects.filter(command__device=session.device, timer_s__isnull=False).latest("pk")
    assert armed.timer_s is not None
    assert armed.timer_s > 60
    world.go(30)
    assert world.relay()[-1][0] is True, "the old end passes and nothing goes off"
    world.go(60)
    fresh(session, State.COMPLETED)
    assert world.relay()[-1][0] is False


def test_added_minutes_are_free_and_the_last_to_be_used(world: World, operator: User) -> None:
    """20 s are paid for and 60 s given: whoever stops after the first 20 s has used what was paid."""
    session = running(world)
    assert services.add_minutes(session, operator, "Lost time", minutes=1, seen_s=20)
    world.go(25)
    services.stop_by_guest(session)
    world.go(20)
    assert [kind for kind, _amount in world.money()] == ["authorized", "captured"]
    assert world.money()[-1] == ("captured", 250)


@pytest.mark.parametrize("minutes", ["0", "-5", str(services.MOST_FREE_MINUTES + 1), "", "many"])
def test_only_some_minutes_can_be_added(world: World, operator: User, minutes: str) -> None:
    session = running(world)
    assert ask(operator, "minutes", session, minutes=minutes).status_code == 422
    assert events(session, "minutes") == []


def test_mark_failed_pays_all_of_it_back(world: World, admin: User) -> None:
    session = running(world)
    assert ask(admin, "mark-failed", session).status_code == 303
    world.go(20)
    fresh(session, State.CANCELLED)
    assert (session.reason, world.money()[-1], world.relay()[-1][0]) == (Reason.FORCE_ENDED, ("refunded", 250), False)


def test_a_retry_is_offered_only_while_a_command_waits(world: World, operator: User) -> None:
    session = running(world)
    url = reverse("dashboard:session", args=[session.pk])
    assert "Retry activation" not in browser(operator).get(url).content.decode()
    ask(operator, "retry", session)
    assert events(session, "retry") == []


def test_minutes_that_were_given_are_not_called_bought(world: World, operator: User) -> None:
    session = running(world)
    assert services.add_minutes(session, operator, "Lost time", minutes=7, seen_s=20)
    html = unescape(browser(operator).get(reverse("dashboard:session", args=[session.pk])).content.decode())
    assert "<dt>Bought</dt><dd>20\xa0s</dd>" in html
    assert "<dt>Added free of charge</dt><dd>7\xa0min</dd>" in html


def test_retry_asks_the_relay_at_once(world: World, operator: User) -> None:
    session = unanswered(world)
    offered = browser(operator).get(reverse("dashboard:session", args=[session.pk])).content.decode()
    assert "Retry activation" in offered
    command = RelayCommand.objects.filter(device=session.device, on=True).latest("pk")
    plugged(world, True)
    assert command.next_at is not None
    assert command.next_at > world.now, "it would have waited for its next round"
    assert ask(operator, "retry", session).status_code == 303
    world.go(2)
    fresh(session, State.RUNNING)
