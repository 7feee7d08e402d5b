"""Sigenergy MQTT push: the maker's broker sends what the plant measures, every five minutes unless told otherwise.

Mutual TLS with the certificate that the maker gives for the app key; the user is the app key, the password an access
token of the OpenAPI. Nothing comes before an activation has been published, and it is published again with each new
token. The documentation and the field know two orders of the topics: both are subscribed.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from cryptography import x509
from paho.mqtt.reasoncodes import ReasonCode

from devices.energy.sources.sigenergy_hosts import broker_address, checked_addresses
from devices.energy.sources.sigenergy_openapi import OpenApiSettings, SigenergyOpenApi
from devices.energy.sources.sigenergy_push import Push
from devices.energy.sources.source import Deliver, Found, Refused, Unreachable
from hygate import clock

KINDS = ("period", "change", "alarm")
DEFAULT_PERIOD_S = 300.0
CONNECT_S = 4.0
REFUSAL_S = 0.7
TEST_S = 9.5
LISTEN_S = 2.0
CLOCK_OFF_S = 60
KEEPALIVE_S = 30
RENEW_AT_LEAST_S = 30.0
REFUSED = 0x80
BAD_LOGIN = (4, 5, 134, 135)  # user, password or right, in MQTT 3.1.1's numbers and in those of MQTT 5


class CertificateRefused(Refused):
    """The client's certificate: unreadable, not of its key, over, or not the one that the broker wants."""

    code = "sigenergy-certificate"
    sentence = "The broker refuses the client certificate."
    advice = "Take ca.pem, client.pem and client.key of this very app key from the developer portal."


class ClosedAtOnce(Unreachable):
    """Closed after TLS and before the login, without a word: mostly the certificate, but a restart looks the same."""

    code = "sigenergy-certificate"
    sentence = "The broker closes the connection before the login: as a rule it does not accept the client certificate."
    advice = CertificateRefused.advice


class BrokerNotTrusted(Refused):
    """The broker's own certificate is not signed by the given authority, or is for another name."""

    code = "sigenergy-broker-certificate"
    sentence = "The broker's certificate is not signed by the authority in ca.pem."
    advice = "Take ca.pem from the developer portal, and check the region and this machine's clock."


class LoginRefused(Refused):
    """The broker refuses app key and token that the OpenAPI has just given."""

    code = "sigenergy-broker-login"
    sentence = "The broker refuses the app key and its access token."
    advice = "Check that MQTT is switched on for this app in the developer portal (App, Data Subscription)."


class NoTopics(Refused):
    """The broker lets this app key in, and not to the station's topics."""

    code = "sigenergy-broker-rights"
    sentence = "The broker does not let this app key read the station's topics."
    advice = "Check the system ID, and that the station's owner has approved the app."


class Silent(Unreachable):
    """Connected, and nothing comes."""

    code = "sigenergy-silent"
    sentence = "The broker is connected, and sends nothing of this station."
    advice = "Check the data subscription in the developer portal, and that the certificate belongs to this app key."


@dataclass(frozen=True)
class MqttSettings:
    """``api``: for the access token. ``broker``: a host, or empty for the region's. ``period_s``: as in the portal."""

    api: OpenApiSettings
    ca_pem: str = field(repr=False)
    certificate_pem: str = field(repr=False)
    key_pem: str = field(repr=False)
    broker: str = ""
    period_s: float = DEFAULT_PERIOD_S


class SigenergyMqtt:
    """The adapter: see devices/energy/sources/source.py for what it promises."""

    admits = True

    def __init__(self, settings: MqttSettings) -> None:
        """Raises ``HostRefused``, and ``Refused`` for an app key or system ID that would be more than one topic."""
        self._settings = settings
        self._app_key, self._system_id = settings.api.app_key, settings.api.system_id
        if not self._system_id or set("+#\x00") & set(self._app_key + self._system_id):
            raise Refused("The app key and the system ID cannot be part of a topic.", "Copy both again.")
        self._api = SigenergyOpenApi(settings.api)
        self._host, self._port = broker_address(settings.broker, self._api.base_url)

    # -- what a source does
    async def watch(self, deliver: Deliver) -> None:
        """Deliver all that the connection has brought with every message; ends when two periods bring none."""
        try:
            await self._listen(deliver, fresh=False)
        except LoginRefused:
            # a login elsewhere may have replaced the token that is cached here
            await self._listen(deliver, fresh=True)

    async def _listen(self, deliver: Deliver, *, fresh: bool) -> None:
        push = Push(self._system_id)
        async with self._connected(fresh=fresh) as client:
            heard = asyncio.get_running_loop().time()
            while True:
                message = await self._next(client, heard + 2 * self._settings.period_s)
                if message is not None and push.take(message.payload, clock.now()):
                    heard = asyncio.get_running_loop().time()
                    await deliver(push.fields())

    async def test(self) -> Found:
        """Log in, connect, subscribe, activate, and listen for two seconds."""
        try:
            async with asyncio.timeout(TEST_S):
                return await self._tested()
        except TimeoutError:
            raise Unreachable("The broker did not answer within ten seconds.", "Check the region.") from None

    async def _tested(self) -> Found:
        push = Push(self._system_id)
        async with self._connected(fresh=True) as client:
            until = asyncio.get_running_loop().time() + LISTEN_S
            with suppress(TimeoutError):  # silence is told below, by what the push has taken
                async with asyncio.timeout_at(until):
                    async for message in client.messages:
                        if push.take(message.payload, clock.now()):
                            break
        said = ("The broker accepts certificate, app key and token.", *self._told(push))
        return Found(said, push.fields())

    def _told(self, push: Push) -> list[str]:
        """What a person should know of the first message, or of its absence."""
        if push.newest is None:
            minutes = self._settings.period_s / 60
            return [f"Nothing came within {LISTEN_S:.0f} s, which is usual: the plant sends every {minutes:g} min."]
        behind_s = (clock.now() - push.newest).total_seconds()
        if behind_s <= self._settings.period_s + CLOCK_OFF_S:
            return ["The plant sends."]
        return [f"The plant's newest figures are {behind_s:.0f} s old: check its clock and this machine's."]

    # -- the connection
    @asynccontextmanager
    async def _connected(self, *, fresh: bool) -> AsyncIterator[aiomqtt.Client]:
        """Connected, subscribed and activated; everything that goes wrong inside becomes a ``SourceError``.

        ``fresh``: with a new token, whatever is cached.
        """
        context = tls_context(self._settings, clock.now())
        token = await self._api.token(fresh=fresh)
        await checked_addresses(self._host, self._port)
        await self._look(context)
        client = aiomqtt.Client(
            self._host,
            self._port,
            username=self._app_key,
            password=token,
            tls_context=context,
            timeout=CONNECT_S,
            keepalive=KEEPALIVE_S,
        )
        try:
            async with client:
                await self._subscribe(client)
                await self._activate(client)
                yield client
        except MqttConnectError as error:
            raise (
                LoginRefused if _code(error.rc) in BAD_LOGIN else Unreachable("The broker is not available.")
            ) from None
        except aiomqtt.MqttError:
            raise Unreachable("The connection to the broker broke.", "Check this machine's internet.") from None

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for kind in KINDS:
            for topic in topics(kind, self._app_key, self._system_id):
                granted = await client.subscribe(topic)
                if any((_code(code) or 0) >= REFUSED for code in granted):
                    raise NoTopics

    async def _activate(self, client: aiomqtt.Client) -> None:
        """Ask for the pushes, with the token in force."""
        body = json.dumps({"accessToken": await self._api.token(), "systemIdList": [self._system_id]})
        for kind in KINDS:
            await client.publish(f"openapi/subscription/{kind}", body, qos=1)

    async def _next(self, client: aiomqtt.Client, silent_at: float) -> aiomqtt.Message | None:
        """The next message; None when the token was renewed instead. Raises ``Silent`` at ``silent_at`` (loop time)."""
        loop = asyncio.get_running_loop()
        left_s = (self._api.renew_at - clock.now()).total_seconds()
        renew_at = loop.time() + max(RENEW_AT_LEAST_S, left_s)
        try:
            async with asyncio.timeout_at(min(silent_at, renew_at)):
                return await anext(aiter(client.messages))
        except TimeoutError:
            if loop.time() >= silent_at:
                raise Silent from None
            await self._activate(client)
            return None

    async def _look(self, context: ssl.SSLContext) -> None:
        """Ask TLS itself what stands in the way: the client library tells only that it did not work."""
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        except ssl.SSLCertVerificationError as error:
            raise BrokerNotTrusted(f"The broker's certificate does not hold: {error.verify_message}.") from None
        except ssl.SSLError:
            raise CertificateRefused from None
        except (OSError, TimeoutError):
            raise Unreachable("The broker cannot be reached.", "Check the host, and this machine's internet.") from None
        try:
            await _wait_for_refusal(reader)
        finally:
            writer.transport.abort()


async def _wait_for_refusal(reader: asyncio.StreamReader) -> None:
    """TLS 1.3 refuses a client's certificate only after the client believes that it is connected."""
    try:
        async with asyncio.timeout(REFUSAL_S):
            await reader.read(1)
    except TimeoutError:
        return  # a broker that is content waits for us
    except ssl.SSLError:
        raise CertificateRefused from None
    except OSError:
        raise ClosedAtOnce from None
    raise ClosedAtOnce


def _code(reason: int | ReasonCode | None) -> int | None:
    return reason.value if isinstance(reason, ReasonCode) else reason


def build(settings: MqttSettings) -> SigenergyMqtt:
    return SigenergyMqtt(settings)


def topics(kind: str, app_key: str, system_id: str) -> tuple[str, str]:
    """Both orders: as the broker has been seen to send, and as the developer portal's text has it."""
    return f"openapi/{kind}/{app_key}/{system_id}", f"{app_key}/openapi/{kind}/{system_id}"


def tls_context(settings: MqttSettings, now: datetime) -> ssl.SSLContext:
    """Trusts the given authority alone, and shows the client certificate. Raises ``CertificateRefused``."""
    _check_validity(settings.certificate_pem, now)
    try:
        context = ssl.create_default_context(cadata=settings.ca_pem)
    except ssl.SSLError:
        raise CertificateRefused("ca.pem is not a certificate in PEM form.") from None
    with tempfile.NamedTemporaryFile("w", prefix="hygate-", suffix=".pem") as file:
        # Python reads keys from files only: this one is its owner's alone, and is gone when the block ends
        file.write(f"{settings.certificate_pem}\n{settings.key_pem}\n")
        file.flush()
        try:
            context.load_cert_chain(Path(file.name), password=lambda: "")
        except ssl.SSLError:
            raise CertificateRefused(
                "client.pem and client.key do not belong together, or the key is encrypted or not in PEM form."
            ) from None
    return context


def _check_validity(certificate_pem: str, now: datetime) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    except (ValueError, x509.InvalidVersion):
        raise CertificateRefused("client.pem is not a certificate in PEM form.") from None
    if now > certificate.not_valid_after_utc:
        ended = certificate.not_valid_after_utc.date().isoformat()
        raise CertificateRefused(
            f"The client certificate ended on {ended}.", "Get a new one from the developer portal."
        )
    if now < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc.date().isoformat()
        raise CertificateRefused(f"The client certificate begins on {begins}.", "Check this machine's clock.")


__all__ = ["MqttSettings", "SigenergyMqtt", "build"]
