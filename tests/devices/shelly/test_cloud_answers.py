"""What the cloud client takes for success, and the name it gives to every other answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from devices.shelly import errors
from devices.shelly.cloud import ShellyCloud
from devices.shelly.errors import ShellyError, named
from tests.captured import SHELLY
from tests.devices.shelly.told_server import KEY, PRO, RELAY, Server, off

CATALOGUE = SHELLY / "cloud_error_bodies.json"
MANY = 3_000_000  # bytes: more than a command may answer, less than all_status may


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def cloud(server: Server) -> ShellyCloud:
    return ShellyCloud(server.url, KEY, command_timeout_s=5, read_timeout_s=5)


# -- what counts as success


@pytest.mark.parametrize(
    "body", ["", " \n", "null", '{"isok":true}', '{"isok":1,"data":{"device_id":"x"}}', "{}", "[]"]
)
def test_an_accepted_command_may_answer_in_many_ways(server: Server, cloud: ShellyCloud, body: str) -> None:
    server.says(body)
    off(cloud)
    assert cloud.switch_group([RELAY]) == {}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"isok": False}, errors.BadAnswer),
        ({"isok": False, "errors": {"who_knows": "Something"}}, errors.BadAnswer),
        ({"isok": None}, errors.BadAnswer),
        ({"error": "NEW_CODE"}, errors.BadAnswer),
        ({"isok": False, "errors": {"max_req": "Request limit reached!"}}, errors.RateLimited),
        ({"isok": False, "errors": ["Request limit reached!"]}, errors.RateLimited),
        ({"isok": True, "error": "DEVICE_OFFLINE"}, errors.DeviceOffline),
        ({"failedCommands": {f"{PRO}_0": "DEVICE_FAILED_COMMAND"}}, errors.CommandFailed),
        ("<html><body>Sign in to the hotel's network</body></html>", errors.BadAnswer),
        ('{"isok":tr', errors.BadAnswer),
        ("false", errors.BadAnswer),
        ('"OK"', errors.BadAnswer),
        (b"\xff\xfe\x00", errors.BadAnswer),
        ("[" * 100_000, errors.BadAnswer),
    ],
)
def test_http_200_can_be_a_failure(server: Server, cloud: ShellyCloud, body: Any, error: type[ShellyError]) -> None:
    server.says(body)
    with pytest.raises(error):
        off(cloud)


def test_body_that_is_too_big_is_not_read_to_its_end(server: Server, cloud: ShellyCloud) -> None:
    server.says(b" " * MANY)
    with pytest.raises(errors.BadAnswer, match="more than"):
        off(cloud)


def test_all_status_of_a_big_account_may_be_bigger(server: Server, cloud: ShellyCloud) -> None:
    server.says(json.dumps({"isok": True, "data": {"devices_status": {}}}) + " " * MANY)
    assert cloud.all_status() == ()


def test_redirects_are_not_followed(server: Server, cloud: ShellyCloud) -> None:
    server.says("", status=307, Location=f"{server.url}/elsewhere")
    with pytest.raises(errors.BadAnswer):
        off(cloud)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", ["", "null", {"isok": True}, {"isok": True, "data": {"devices_status": "no"}}])
def test_a_read_without_its_content_is_a_bad_answer(server: Server, cloud: ShellyCloud, body: Any) -> None:
    server.says(body)
    for read in (cloud.all_status, cloud.device_list, lambda: cloud.statuses([PRO])):
        with pytest.raises(errors.BadAnswer):
            read()


# -- errors by name


def catalogue() -> list[Any]:
    entries = json.loads(CATALOGUE.read_text())["entries"] if CATALOGUE.is_file() else []
    return [pytest.param(entry, id=f"{entry['api']}: {entry['when']}") for entry in entries if "http" in entry]


EXPECTED: dict[str, str] = {
    "more than ~1 request/second on the account": "rate_limited",
    "rate limit, alternative status some authors handle": "rate_limited",
    "auth key named as invalid": "bad_key",
    "unexplained refusal (user account, key valid)": "unclear_refusal",
    "relay channel could not be controlled (author used GET query instead of POST body)": "wrong_channel",
    "no auth key": "bad_key",
    "valid key, device id that does not exist on the account": "no_permission",
    "more than 10 ids": "bad_request",
    "unknown device id among ids": "",
    "device offline": "device_offline",
    "command failed": "command_failed",
    "wrong profile/mode": "wrong_profile",
    "bad channel": "wrong_channel",
    "bad parameters": "bad_request",
    "device instance problem": "device_not_found",
    "no device state": "device_not_found",
    "internal failure": "cloud_down",
    "some targets failed": "",
}


@pytest.mark.skipif(not CATALOGUE.is_file(), reason="the shared catalogue of errors is not here")
@pytest.mark.parametrize("entry", catalogue())
def test_every_http_entry_of_the_error_catalogue_has_its_name(
    server: Server, cloud: ShellyCloud, entry: dict[str, Any]
) -> None:
    body = entry.get("body") or entry.get("body_partial") or ({"error": entry["error"]} if "error" in entry else [])
    server.says(body, status=entry["http"])
    error = named(server.status, server.body)
    assert (error.name if error else "") == EXPECTED[entry["when"]]
    if error is not None:
        with pytest.raises(type(error)):
            off(cloud)
