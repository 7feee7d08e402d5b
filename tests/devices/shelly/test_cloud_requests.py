"""What the cloud client sends, what it lets nobody read, and what it measures."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from devices.shelly import errors
from devices.shelly.cloud import ShellyCloud, Target
from devices.shelly.errors import ShellyError
from tests.devices.shelly.told_server import KEY, PRO, RELAY, Server, off


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def cloud(server: Server) -> ShellyCloud:
    return ShellyCloud(server.url, KEY, command_timeout_s=5, read_timeout_s=5)


# -- how a request looks


def test_on_carries_its_timer_in_a_v2_call_with_the_key_in_the_query(server: Server, cloud: ShellyCloud) -> None:
    cloud.switch(Target(PRO, 1), on=True, toggle_after_s=90)
    method, path, text, _ = server.asked[0]
    assert (method, urlsplit(path).path) == ("POST", "/v2/devices/api/set/switch")
    assert parse_qs(urlsplit(path).query) == {"auth_key": [KEY]}
    assert json.loads(text) == {"id": PRO, "channel": 1, "on": True, "toggle_after": 90}


def test_off_carries_no_timer(server: Server, cloud: ShellyCloud) -> None:
    off(cloud)
    assert json.loads(server.asked[0][2]) == {"id": PRO, "channel": 0, "on": False}


@pytest.mark.parametrize(("on", "timer_s"), [(True, None), (True, 0), (True, -5), (False, 60), (False, 0)])
def test_on_without_and_off_with_a_timer_are_never_sent(
    server: Server, cloud: ShellyCloud, on: bool, timer_s: int | None
) -> None:
    with pytest.raises(ValueError, match=r"timer|toggle_after"):
        cloud.switch(RELAY, on=on, toggle_after_s=timer_s)
    assert server.asked == []


def test_group_is_one_off_for_all_its_targets(server: Server, cloud: ShellyCloud) -> None:
    assert cloud.switch_group([RELAY, Target(PRO, 1)]) == {}
    assert json.loads(server.asked[0][2]) == {"switch": {"ids": [f"{PRO}_0", f"{PRO}_1"], "command": {"on": False}}}
    assert urlsplit(server.asked[0][1]).path == "/v2/devices/api/set/groups"


def test_v1_reads_are_forms_with_the_key_in_the_body_only(server: Server, cloud: ShellyCloud) -> None:
    server.says({"isok": True, "data": {"devices_status": []}})
    assert cloud.all_status() == ()
    server.says({"isok": True, "data": {"devices": []}})
    assert cloud.device_list() == ()
    (_, path, text, headers), (_, list_path, list_text, _) = server.asked
    assert (path, list_path) == ("/device/all_status", "/interface/device/list")
    assert parse_qs(text) == {"auth_key": [KEY], "show_info": ["true"], "no_shared": ["true"]}
    assert parse_qs(list_text) == {"auth_key": [KEY]}
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_nothing_to_ask_sends_nothing(server: Server, cloud: ShellyCloud) -> None:
    assert (cloud.statuses([]), cloud.switch_group([])) == ({}, {})
    assert server.asked == []


def test_more_than_ten_ids_are_refused_before_the_cloud_does(server: Server, cloud: ShellyCloud) -> None:
    with pytest.raises(ValueError, match="10"):
        cloud.statuses([f"id{number}" for number in range(11)])
    assert server.asked == []


# -- what must not leak, and what is measured


def chain(error: BaseException | None) -> str:
    return "" if error is None else f"{error!r} {error.args} " + chain(error.__cause__) + chain(error.__context__)


def test_errors_hold_neither_key_nor_url(server: Server, cloud: ShellyCloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    answers: list[tuple[int, Any]] = [(400, {"error": f"BAD_REQUEST {KEY}", "data": {}}), (401, {"errors": {KEY: KEY}})]
    for status, body in answers:
        server.says(body, status=status)
        with pytest.raises(ShellyError) as caught:
            off(cloud)
        assert KEY not in chain(caught.value) + caught.value.detail
    server.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ShellyError) as caught:
        off(cloud)
    assert KEY not in chain(caught.value)
    assert server.url not in chain(caught.value)
    assert KEY not in caplog.text


def test_latency_and_the_servers_clock_are_known_after_a_call(server: Server, cloud: ShellyCloud) -> None:
    assert (cloud.last_latency_s, cloud.server_time_offset_s) == (None, None)
    server.says("", Date=formatdate(time.time() + 3600, usegmt=True))
    off(cloud)
    assert cloud.last_latency_s is not None
    assert 0 < cloud.last_latency_s < 1
    assert cloud.server_time_offset_s == pytest.approx(3600, abs=2)
    server.says("", Date="yesterday")
    off(cloud)
    assert cloud.server_time_offset_s is None


def test_latency_of_a_failure_is_known_too(server: Server, cloud: ShellyCloud) -> None:
    server.says("<html>", status=502)
    with pytest.raises(errors.CloudDown):
        off(cloud)
    assert cloud.last_latency_s is not None
