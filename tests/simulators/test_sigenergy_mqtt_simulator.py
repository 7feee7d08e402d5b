"""The Sigenergy push's simulator over real TLS: who gets in, and what is sent to whom."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import SigenergySimulator, build
from hygate.simulators.sigenergy.certificates import Certificates
from hygate.simulators.sigenergy.openapi import DEMO_APP_KEY, DEMO_SYSTEM_ID

PERIOD = f"openapi/period/{DEMO_APP_KEY}/{DEMO_SYSTEM_ID}"
TOKEN = "token-of-this-test"
CERTIFICATES = Certificates.made()
Act = Callable[[aiomqtt.Client], Awaitable[Any]]


@pytest.fixture
def simulator() -> Iterator[SigenergySimulator]:
    made = build(certificates=CERTIFICATES)
    made.mqtt.knobs.period_s = 0.2
    made.openapi.accepts = lambda app_key, token: token == TOKEN  # type: ignore[method-assign]
    running = RunningSimulator(made).start()
    try:
        yield made
    finally:
        running.stop()


def context(*, certificate: bool = True) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=CERTIFICATES.ca_pem)
    if certificate:
        file = Path(os.environ["HYGATE_VAR_DIR"]) / "client.pem"
        file.write_text(CERTIFICATES.client_pem + CERTIFICATES.client_key_pem)
        made.load_cert_chain(file)
    return made


def connected(simulator: SigenergySimulator, act: Act, *, token: str = TOKEN) -> Any:
    """What ``act`` answers on a connection of its own."""

    async def run() -> Any:
        own: dict[str, Any] = {"username": DEMO_APP_KEY, "password": token, "timeout": 3, "tls_context": context()}
        async with asyncio.timeout(8), aiomqtt.Client("127.0.0.1", simulator.mqtt.port, **own) as client:
            return await act(client)

    return asyncio.run(run())


async def activate(client: aiomqtt.Client, token: str = TOKEN, kind: str = "period") -> None:
    body = json.dumps({"accessToken": token, "systemIdList": [DEMO_SYSTEM_ID]})
    await client.publish(f"openapi/subscription/{kind}", body, qos=1)


async def heard(client: aiomqtt.Client, seconds: float = 3.0) -> list[dict[str, Any]]:
    """The next message; empty when none comes in time."""
    try:
        async with asyncio.timeout(seconds):
            message: list[dict[str, Any]] = json.loads((await anext(aiter(client.messages))).payload)
            return message
    except TimeoutError:
        return []


def test_nobody_gets_in_without_a_client_certificate(simulator: SigenergySimulator) -> None:
    async def knock() -> bytes:
        bare = context(certificate=False)
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.mqtt.port, ssl=bare)
        try:
            async with asyncio.timeout(3):
                return await reader.read(1)
        finally:
            writer.transport.abort()

    assert asyncio.run(knock()) == b""


def test_wrong_token_does_not_get_in(simulator: SigenergySimulator) -> None:
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authorized|bad user"):
        connected(simulator, activate, token="wrong")


def test_nothing_comes_before_an_activation(simulator: SigenergySimulator) -> None:
    async def listen(client: aiomqtt.Client) -> Any:
        await client.subscribe(PERIOD)
        return await heard(client, 0.3)

    assert connected(simulator, listen) == []


def test_activation_with_a_wrong_token_brings_nothing(simulator: SigenergySimulator) -> None:
    async def listen(client: aiomqtt.Client) -> Any:
        await client.subscribe(PERIOD)
        await activate(client, "wrong")
        return await heard(client, 0.3)

    assert connected(simulator, listen) == []


def test_first_message_has_everything_and_the_next_only_what_changed(simulator: SigenergySimulator) -> None:
    async def listen(client: aiomqtt.Client) -> Any:
        await client.subscribe(PERIOD)
        await activate(client)
        first = await heard(client)
        await asyncio.to_thread(simulator.plant.set, {"running_state": 0, "battery_charge_w": 0, "pv_w": 0})
        news = await heard(client)
        while "systemStatus" not in news[0]["value"]:
            news = await heard(client)
        return first[0]["value"], news[0]["value"]

    whole, news = connected(simulator, listen)
    assert (whole["systemStatus"], whole["PV power"]) == ("1.0", "2800.0")
    assert (news["systemStatus"], news["PV power"]) == ("2.0", "0.0")
    assert set(whole) - set(news) >= {"onOffGridStatus", "operationalMode", "batteryMaxDischargePowerW"}


def test_wildcards_lead_nowhere(simulator: SigenergySimulator) -> None:
    async def listen(client: aiomqtt.Client) -> Any:
        return await client.subscribe("#")

    (granted,) = connected(simulator, listen)
    assert granted.value == 0x80


def test_what_other_clients_publish_is_not_passed_on(simulator: SigenergySimulator) -> None:
    async def listen(client: aiomqtt.Client) -> Any:
        await client.subscribe(PERIOD)
        await client.publish(PERIOD, "[]", qos=1)
        return await heard(client, 0.3)

    assert connected(simulator, listen) == []


def test_certificates_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "certificates.json"
    made = Certificates.kept(file)
    assert Certificates.kept(file) == made
    assert file.stat().st_mode & 0o777 == 0o600


def test_time_of_a_message_is_that_of_the_plant(simulator: SigenergySimulator) -> None:
    async def listen(client: aiomqtt.Client) -> Any:
        await client.subscribe(PERIOD)
        await activate(client)
        return await heard(client)

    assert abs(connected(simulator, listen)[0]["statisticsTime"] - time.time()) < 5
