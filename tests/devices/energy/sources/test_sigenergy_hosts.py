"""Where a key for Sigenergy's cloud may go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devices.energy.sources import sigenergy_hosts
from devices.energy.sources.sigenergy_hosts import HostRefused, HostUnknown, api_base, broker_address

# -- where the key may go


@pytest.mark.parametrize(
    ("entered", "base"),
    [
        ("eu", "https://openapi-eu.sigencloud.com"),
        (" APAC ", "https://openapi-apac.sigencloud.com"),
        ("https://api-eu.sigencloud.com/", "https://api-eu.sigencloud.com"),
        ("openapi-us.sigencloud.com", "https://openapi-us.sigencloud.com"),
    ],
)
def test_region_or_host_leads_to_the_api(entered: str, base: str) -> None:
    assert api_base(entered) == base


@pytest.mark.parametrize(
    "entered",
    [
        "",
        "http://openapi-eu.sigencloud.com",
        "https://openapi-eu.sigencloud.com:8443",
        "https://openapi-eu.sigencloud.com.evil.tld",
        "https://evil.tld/openapi-eu.sigencloud.com",
        "https://user@openapi-eu.sigencloud.com",
        "https://mqtt-eu.sigencloud.com",
        "https://openapi-eu.sigencloud.com/path",
        "https://169.254.169.254",
        "https://[::1",
        "http://192.168.1.5",
    ],
)
def test_key_goes_to_no_other_host(entered: str) -> None:
    with pytest.raises(HostRefused):
        api_base(entered)


def test_simulators_on_this_machine_are_for_simulation_only(settings: Any) -> None:
    assert api_base("http://127.0.0.1:8103") == "http://127.0.0.1:8103"
    settings.SIMULATED = False
    with pytest.raises(HostRefused):
        api_base("http://127.0.0.1:8103")


def test_broker_is_the_regions_unless_named() -> None:
    assert broker_address("", "https://openapi-eu.sigencloud.com") == ("mqtt-eu.sigencloud.com", 8883)
    assert broker_address("mqtts://mqtt-us.sigencloud.com:8883", "") == ("mqtt-us.sigencloud.com", 8883)


@pytest.mark.parametrize(
    "broker", ["mqtt://mqtt-eu.sigencloud.com", "evil.tld", "mqtt-eu.sigencloud.com:22", "10.0.0.5"]
)
def test_token_goes_to_no_other_broker(broker: str) -> None:
    with pytest.raises(HostRefused):
        broker_address(broker, "")


@pytest.mark.parametrize("address", ["10.0.0.5", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.5"])
def test_name_that_leads_inside_is_not_followed(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    async def inside(*_args: Any, **_more: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 443))]

    async def ask() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", inside)
        await sigenergy_hosts.checked_addresses("openapi-eu.sigencloud.com", 443)

    with pytest.raises(HostRefused):
        asyncio.run(ask())


def test_name_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_args: Any, **_more: Any) -> list[Any]:
        raise OSError("no such name")

    async def ask() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)
        await sigenergy_hosts.checked_addresses("openapi-eu.sigencloud.com", 443)

    with pytest.raises(HostUnknown, match=r"openapi-eu\.sigencloud\.com"):
        asyncio.run(ask())
