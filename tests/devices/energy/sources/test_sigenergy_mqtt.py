"""The Sigenergy MQTT push: messages through the merge, and the adapter against the simulated broker over real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devices.energy.reading import Field, Fields
from devices.energy.sources import sigenergy_mqtt
from devices.energy.sources.sigenergy_answers import KeyRefused
from devices.energy.sources.sigenergy_mqtt import (
    BrokerNotTrusted,
    CertificateRefused,
    LoginRefused,
    MqttSettings,
    NoTopics,
    SigenergyMqtt,
    Silent,
    tls_context,
    topics,
)
from devices.energy.sources.sigenergy_push import Push
from devices.energy.sources.source import Refused, SourceError, Unreachable
from hygate import clock
from hygate.simulators.sigenergy import mqtt
from hygate.simulators.sigenergy.certificates import Certificates
from tests.captured import needs_sigenergy
from tests.devices.energy.sources.sigenergy_bench import SECRET, Bench, payload, values

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SYSTEM = "KXGCS1727160960"
Later = Callable[[float], datetime]


def message(value: Any, *, at: datetime = NOW, **more: Any) -> bytes:
    update = {"deviceType": "system", "systemId": SYSTEM, "snCode": "1", "statisticsTime": int(at.timestamp())}
    return json.dumps([{**update, "value": value, **more}]).encode()


def pushed(*messages: bytes, now: datetime = NOW) -> Push:
    push = Push(SYSTEM)
    for one in messages:
        push.take(one, now)
    return push


def read(value: Any) -> dict[Field, int | float]:
    return values(pushed(message(value)).fields())


# -- what a message says


def test_positive_grid_power_is_import() -> None:
    assert read({"gridActivePowerW": "3.0", "gridPhaseCActivePowerW": "33.0"}) == {
        Field.GRID_IMPORT: 3,
        Field.GRID_IMPORT_L3: 33,
    }


def test_vendors_sample_balances_in_our_signs() -> None:
    fields = read({"pvPowerW": "1740", "storageChargeDischargePowerW": "-2464", "gridActivePowerW": "-4151"})
    load_w = fields[Field.PV] - fields[Field.BATTERY_CHARGE] + fields[Field.GRID_IMPORT]
    assert load_w == 53


@pytest.mark.parametrize("key", ["pvPowerW", "PV power"])
def test_solar_power_is_known_under_both_names(key: str) -> None:
    assert read({key: "1740.0"}) == {Field.PV: 1740}


@pytest.mark.parametrize(
    ("said", "runs"),
    [
        ("1.0", 1),
        ("running", 1),
        ("Online", 1),
        ("0.0", 0),
        ("2.0", 0),
        ("3.0", 0),
        ("standby", 0),
        ("fault", 0),
        ("shutdown", 0),
        ("disconnected", 0),
        ("a word of tomorrow", 0),
    ],
)
def test_only_a_running_plant_runs(said: str, runs: int) -> None:
    assert read({"systemStatus": said}) == {Field.RUNNING: runs}


@pytest.mark.parametrize(("said", "watch"), [("off", 0), ("0.0", 0), ("on", 1), ("1.0", 1), ("pre-charging", 1)])
def test_storm_watch_is_on_unless_it_is_said_to_be_off(said: str, watch: int) -> None:
    assert read({"stormWatchStatus": said}) == {Field.STORM_WATCH: watch}


@pytest.mark.parametrize(("said", "on_grid"), [("onGrid", 1), ("0.0", 1), ("offGrid", 0), ("1.0", 0), ("island", 0)])
def test_plant_is_on_the_grid_only_when_it_says_so(said: str, on_grid: int) -> None:
    assert read({"onOffGridStatus": said}) == {Field.ON_GRID: on_grid}


@pytest.mark.parametrize("nothing", [None, "", "nan", "-", [], True])
def test_value_that_is_none_is_absent_and_never_zero(nothing: Any) -> None:
    assert read({"gridActivePowerW": nothing, "storageSOC%": nothing}) == {}


def test_charge_beyond_all_bounds_is_absent() -> None:
    assert read({"storageSOC%": "180"}) == {}


def test_value_that_is_a_json_string_is_read() -> None:
    assert read(json.dumps({"gridActivePowerW": "5"})) == {Field.GRID_IMPORT: 5}


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"{", b"7", b"[]", b"[7]", b'"text"', b'[{"value": {}}]'])
def test_message_that_makes_no_sense_changes_nothing(text: bytes) -> None:
    push = pushed(message({"gridActivePowerW": "5"}))
    assert push.take(text, NOW) is False
    assert values(push.fields()) == {Field.GRID_IMPORT: 5}


def test_other_systems_figures_are_not_ours() -> None:
    assert pushed(message({"gridActivePowerW": "5"}, systemId="OTHER")).newest is None


def test_inverters_figures_do_not_stand_for_the_systems() -> None:
    push = pushed(message({"pvPowerW": "9000"}), message({"pvPowerW": "3000"}, deviceType="Inverter"))
    assert values(push.fields()) == {Field.PV: 9000}


# -- merging and age (ruling 2.13)


def test_missing_field_keeps_its_value() -> None:
    push = pushed(message({"gridActivePowerW": "5", "pvPowerW": "7"}), message({"pvPowerW": "8"}))
    assert values(push.fields()) == {Field.GRID_IMPORT: 5, Field.PV: 8}


@pytest.mark.parametrize("nothing", [None, "", "--", "NaN", []])
def test_value_that_cannot_be_read_takes_the_old_one_away(nothing: Any) -> None:
    """Kept, it would be as fresh as every message that follows."""
    first = message({"gridActivePowerW": "900", "pvPowerW": "100"})
    push = pushed(first, message({"gridActivePowerW": nothing}), message({"pvPowerW": "200"}))
    assert set(push.fields()) == {Field.PV}


def test_unchanged_field_is_as_fresh_as_the_newest_message() -> None:
    newer = NOW + timedelta(seconds=300)
    push = pushed(message({"gridActivePowerW": "5"}), message({"pvPowerW": "8"}, at=newer), now=newer)
    assert {measured.at for measured in push.fields().values()} == {newer}


def test_field_that_this_connection_has_not_brought_is_not_passed_on() -> None:
    pushed(message({"gridActivePowerW": "5"}))
    assert set(pushed(message({"pvPowerW": "8"})).fields()) == {Field.PV}


def test_overtaken_message_changes_nothing_and_makes_nothing_older() -> None:
    newer = NOW + timedelta(seconds=5)
    push = pushed(message({"gridActivePowerW": "9"}, at=newer), message({"gridActivePowerW": "5"}), now=newer)
    assert values(push.fields()) == {Field.GRID_IMPORT: 9}
    assert push.newest == newer


def test_plant_whose_clock_is_ahead_is_not_fresher_than_now() -> None:
    push = pushed(message({"gridActivePowerW": "5"}, at=NOW + timedelta(hours=1)))
    assert push.newest == NOW


def test_plant_whose_figures_stand_still_grows_old() -> None:
    push = pushed(message({"gridActivePowerW": "5"}), now=NOW + timedelta(hours=1))
    assert push.newest == NOW


@needs_sigenergy
def test_documented_alarm_is_a_sign_of_life_and_no_figure() -> None:
    push = pushed(json.dumps(payload("mqtt_alarm__doc")).encode())
    assert push.newest == datetime.fromtimestamp(1716173149.647, UTC)
    assert push.fields() == {}


def test_both_orders_of_the_topic_are_known() -> None:
    assert topics("period", "key", "sys") == ("openapi/period/key/sys", "key/openapi/period/sys")


@pytest.mark.parametrize(("app_key", "system_id"), [("#", "S"), ("a+b", "S"), ("key", "#"), ("key", "")])
def test_wildcard_is_no_app_key(bench: Bench, app_key: str, system_id: str) -> None:
    with pytest.raises(Refused, match="topic"):
        SigenergyMqtt(bench.mqtt(api=bench.api(app_key=app_key, system_id=system_id)))


# -- against the broker


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(sigenergy_mqtt, "REFUSAL_S", 0.1)
    made = Bench()
    made.ctl("mqtt", period_s=600)
    try:
        yield made
    finally:
        made.close()


class Over(Exception):
    """What ends a watch when a test has seen enough."""


def watch(source: SigenergyMqtt, seen: Callable[[Fields], Awaitable[bool] | bool]) -> list[Fields]:
    """All that is delivered until ``seen`` says that it is enough; ten seconds at most."""
    got: list[Fields] = []

    async def deliver(fields: Fields) -> None:
        got.append(fields)
        enough = seen(fields)
        if enough is True or (not isinstance(enough, bool) and await enough):
            raise Over

    async def run() -> None:
        async with asyncio.timeout(10):
            await source.watch(deliver)

    with pytest.raises(Over):
        asyncio.run(run())
    return got


def failure(settings: MqttSettings) -> SourceError:
    """What *Test connection* comes to; the error holds no secret."""
    with pytest.raises(SourceError) as caught:
        asyncio.run(SigenergyMqtt(settings).test())
    said = f"{caught.value!r} {caught.value.sentence} {caught.value.advice}"
    assert SECRET not in said and "PRIVATE KEY" not in said
    return caught.value


def is_whole(fields: Fields) -> bool:
    return {Field.GRID_IMPORT, Field.STORM_WATCH} <= set(fields)


def test_plant_arrives_in_our_signs(bench: Bench) -> None:
    bench.ctl("plant", pv_w=2800, load_w=[4000, 4000, 3340], battery_charge_w=0, storm_watch=True)
    fields = values(watch(SigenergyMqtt(bench.mqtt()), is_whole)[-1])
    told = bench.simulator.plant.flows()
    assert fields[Field.GRID_IMPORT] == told.grid_import_w == 8540
    assert fields[Field.GRID_IMPORT_L1] == told.grid_import_l1_w
    assert fields[Field.PV] == 2800
    assert (fields[Field.RUNNING], fields[Field.ON_GRID], fields[Field.STORM_WATCH]) == (1, 1, 1)


@pytest.mark.parametrize("knobs", [{"documented": True}, {"portal_topics": True}])
def test_other_words_and_other_topics_arrive_as_well(bench: Bench, knobs: dict[str, bool]) -> None:
    bench.ctl("mqtt", **knobs)
    fields = values(watch(SigenergyMqtt(bench.mqtt()), is_whole)[-1])
    assert (fields[Field.PV], fields[Field.RUNNING]) == (2800, 1)


def test_change_of_one_field_comes_with_all_that_is_known(bench: Bench) -> None:
    def change(fields: Fields) -> bool:
        if is_whole(fields) and fields[Field.RUNNING].value == 1:
            bench.ctl("plant", running_state=2)
            bench.ctl("mqtt/push")
        return fields[Field.RUNNING].value == 0

    last = watch(SigenergyMqtt(bench.mqtt()), lambda fields: Field.RUNNING in fields and change(fields))[-1]
    assert is_whole(last)
    sent = bench.ledger("mqtt", what="send period")[-1]["values"]
    assert "onOffGridStatus" not in sent


def test_field_of_an_earlier_connection_waits_until_the_next_one_brings_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SigenergyMqtt(bench.mqtt())
    watch(source, is_whole)
    monkeypatch.setattr(mqtt, "told", lambda *_args, **_more: {"gridActivePowerW": "7.0"})
    again = watch(source, lambda fields: True)
    assert values(again[0]) == {Field.GRID_IMPORT: 7}


async def _never(fields: Fields) -> None:
    raise AssertionError(f"nothing should have come: {fields}")


def test_lost_connection_ends_the_watch(bench: Bench) -> None:
    async def drop(_fields: Fields) -> bool:
        await asyncio.to_thread(bench.ctl, "mqtt/drop")
        return False

    async def deliver(fields: Fields) -> None:
        await drop(fields)

    async def run() -> None:
        async with asyncio.timeout(10):
            await SigenergyMqtt(bench.mqtt()).watch(deliver)

    with pytest.raises(Unreachable):
        asyncio.run(run())


def test_two_periods_without_a_message_end_the_watch(bench: Bench) -> None:
    bench.ctl("mqtt", discards=True)
    with pytest.raises(Silent):
        asyncio.run(SigenergyMqtt(bench.mqtt(period_s=0.2)).watch(_never))


def test_alarm_keeps_the_connection_alive(bench: Bench) -> None:
    first: list[datetime] = []
    alarms: list[threading.Timer] = []

    def alarmed(fields: Fields) -> bool:
        first.extend(measured.at for measured in fields.values())
        if len(set(first)) == 1:
            alarms.append(threading.Timer(1.1, bench.ctl, ("mqtt/alarm",)))
            alarms[-1].start()
        return len(set(first)) > 1

    last = watch(SigenergyMqtt(bench.mqtt()), lambda fields: is_whole(fields) and alarmed(fields))[-1]
    assert is_whole(last)
    for alarm in alarms:
        alarm.join(5)


def test_activation_is_published_again_with_the_next_token(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigenergy_mqtt, "RENEW_AT_LEAST_S", 0.2)
    bench.ctl("openapi", token_lasts_s=300)

    def twice(_fields: Fields) -> bool:
        return len(bench.ledger("mqtt", what="activate period", ok=True)) > 1

    watch(SigenergyMqtt(bench.mqtt()), twice)
    assert bench.asked("login") >= 2


def test_connection_is_tested_without_waiting_for_the_period(bench: Bench) -> None:
    found = asyncio.run(SigenergyMqtt(bench.mqtt()).test())
    assert found.sentences == ("The broker accepts certificate, app key and token.", "The plant sends.")
    assert found.fields


def test_silence_of_a_new_connection_is_no_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigenergy_mqtt, "LISTEN_S", 0.2)
    bench.ctl("mqtt", discards=True)
    found = asyncio.run(SigenergyMqtt(bench.mqtt()).test())
    assert "every 5 min" in found.sentences[-1]


def test_plant_whose_clock_is_behind_is_named(bench: Bench) -> None:
    bench.ctl("plant", freeze=True)
    frozen = bench.simulator.plant.flows().at
    with clock.using(clock.ManualClock(datetime.fromtimestamp(frozen, UTC) + timedelta(seconds=900))):
        found = asyncio.run(SigenergyMqtt(bench.mqtt()).test())
    assert "check its clock" in found.sentences[-1]


def test_wrong_key_is_named_before_the_broker_is_asked(bench: Bench) -> None:
    assert isinstance(failure(bench.mqtt(api=bench.api(app_secret="wrong"))), KeyRefused)
    assert bench.ledger("mqtt", what="connect") == []


def test_token_that_was_replaced_elsewhere_is_renewed_once(bench: Bench) -> None:
    source = SigenergyMqtt(bench.mqtt())
    watch(source, is_whole)
    bench.http.delete("/_ctl/openapi/tokens")
    watch(source, is_whole)
    assert bench.asked("login") == 2


def test_busy_broker_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigenergy_mqtt, "BAD_LOGIN", ())
    bench.simulator.openapi.accepts = lambda app_key, token: False  # type: ignore[method-assign]
    assert failure(bench.mqtt()).retryable


def test_refused_token_is_named(bench: Bench) -> None:
    bench.simulator.openapi.accepts = lambda app_key, token: False  # type: ignore[method-assign]
    assert isinstance(failure(bench.mqtt()), LoginRefused)


def test_refused_topics_are_named(bench: Bench) -> None:
    bench.simulator.mqtt.may_read = lambda topic: False  # type: ignore[method-assign]
    assert isinstance(failure(bench.mqtt()), NoTopics)


def test_certificate_of_another_authority_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigenergy_mqtt, "REFUSAL_S", 5)
    other = Certificates.made()
    error = failure(bench.mqtt(certificate_pem=other.client_pem, key_pem=other.client_key_pem))
    assert error.code == "sigenergy-certificate" and "client certificate" in error.sentence
    assert bench.ledger("mqtt", what="connect") == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_broker_that_says_so_refuses_the_certificate_for_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    monkeypatch.setattr(sigenergy_mqtt, "REFUSAL_S", 5)
    own, other = bench.simulator.mqtt.certificates, Certificates.made()
    context = own.broker_context()
    context.minimum_version = context.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=_shake_hands, args=(context, listening))
        server.start()
        broker = f"127.0.0.1:{listening.getsockname()[1]}"
        error = failure(bench.mqtt(broker=broker, certificate_pem=other.client_pem, key_pem=other.client_key_pem))
        server.join(5)
    assert (type(error), error.retryable) == (CertificateRefused, False)


def _shake_hands(context: ssl.SSLContext, listening: socket.socket) -> None:
    """One connection, and the handshake's failure told to the other side as most brokers do."""
    connection, _ = listening.accept()
    with connection, contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True):
        pass


def test_broker_of_another_authority_is_named_and_gets_no_token(bench: Bench) -> None:
    assert isinstance(failure(bench.mqtt(ca_pem=Certificates.made().ca_pem)), BrokerNotTrusted)
    assert bench.ledger("mqtt", what="connect") == []


def test_broker_that_is_not_there_is_unreachable(bench: Bench) -> None:
    assert type(failure(bench.mqtt(broker="127.0.0.1:9"))) is Unreachable


@pytest.mark.parametrize(("days", "word"), [((-20, -10), "ended on"), ((10, 20), "begins on")], ids=["over", "not yet"])
def test_certificate_out_of_its_time_is_named(bench: Bench, days: tuple[int, int], word: str) -> None:
    begins, ends = (clock.now() + timedelta(days=number) for number in days)
    other = Certificates.made(client_from=begins, client_until=ends)
    error = failure(bench.mqtt(certificate_pem=other.client_pem, key_pem=other.client_key_pem))
    assert isinstance(error, CertificateRefused) and word in error.sentence


@pytest.mark.parametrize(
    ("what", "word"), [("ca_pem", "ca.pem"), ("certificate_pem", "client.pem"), ("key_pem", "client.key")]
)
def test_text_that_is_no_pem_is_named(bench: Bench, what: str, word: str) -> None:
    broken: dict[str, Any] = {what: "not a certificate"}
    error = failure(replace(bench.mqtt(), **broken))
    assert isinstance(error, CertificateRefused) and word in error.sentence


def test_key_of_another_certificate_is_named(bench: Bench) -> None:
    error = failure(bench.mqtt(key_pem=Certificates.made().client_key_pem))
    assert isinstance(error, CertificateRefused) and "belong together" in error.sentence


def test_private_key_stays_in_no_file(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    modes: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def look(context: ssl.SSLContext, file: Any, **more: Any) -> None:
        modes.append(Path(file).stat().st_mode & 0o777)
        load(context, file, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    tls_context(bench.mqtt(), clock.now())
    assert modes == [0o600]
    assert list(tmp_path.iterdir()) == []


def test_no_secret_is_in_the_settings_representation(bench: Bench) -> None:
    assert SECRET not in repr(bench.mqtt()) and "PRIVATE" not in repr(bench.mqtt())
