"""A sync on request says how far it is, to whoever looks, and leaves nothing behind."""

from __future__ import annotations

import pytest

from devices.relays import sync, syncing
from devices.relays.syncing import Progress, Step, followed, progress
from devices.shelly.cloud import ShellyCloud
from devices.shelly.errors import ShellyError
from tests.world import World

ACCOUNT = 7


def test_each_step_is_told_while_it_lasts_with_what_is_known_by_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Progress | None] = []

    def watched(name: str, where: object) -> None:
        real = getattr(where, name)

        def looking(*args: object, **named: object) -> object:
            seen.append(progress(world.account.pk))
            return real(*args, **named)

        monkeypatch.setattr(where, name, looking)

    watched("all_status", ShellyCloud)
    watched("device_list", ShellyCloud)
    watched("keep_found", sync)
    sync.sync_account(world.account)
    assert seen == [Progress(Step.STATES), Progress(Step.NAMES, devices=2), Progress(Step.KEEPING, channels=5)]
    assert progress(world.account.pk) is None


def test_a_sync_that_fails_is_over(world: World) -> None:
    world.account.server_url = "http://127.0.0.1:9"
    with pytest.raises(ShellyError):
        sync.sync_account(world.account)
    assert progress(world.account.pk) is None


@pytest.mark.django_db
def test_who_waits_behind_another_sync_neither_tells_nor_ends_it() -> None:
    with followed(ACCOUNT) as tell:
        assert progress(ACCOUNT) == Progress(Step.TURN)
        tell(Step.NAMES, devices=3)
        with followed(ACCOUNT):
            assert progress(ACCOUNT) == Progress(Step.NAMES, devices=3)
        assert progress(ACCOUNT) == Progress(Step.NAMES, devices=3)
        assert progress(ACCOUNT + 1) is None
    assert progress(ACCOUNT) is None


@pytest.mark.django_db
def test_a_step_of_a_process_that_died_is_told_no_longer_than_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "LIVES_S", -1)
    with followed(ACCOUNT):
        assert progress(ACCOUNT) is None
