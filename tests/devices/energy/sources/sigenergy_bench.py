"""A running Sigenergy plant for the tests of the sources that ask its cloud: one clock for it and for Hygate."""

from __future__ import annotations

import itertools
import json
from typing import Any

from devices.energy.reading import Field, Fields
from devices.energy.sources.sigenergy_mqtt import MqttSettings
from devices.energy.sources.sigenergy_openapi import OpenApiSettings
from hygate import clock
from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy.openapi import DEMO_SYSTEM_ID
from hygate.simulators.sigenergy.simulator import build
from tests import loopback
from tests.captured import SIGENERGY

SECRET = "secret-that-nobody-may-see"
_keys = itertools.count()


class Bench:
    """The simulator over real sockets; an app key of its own, so that no test meets the limits of another."""

    def __init__(self) -> None:
        self.simulator = build(clock=lambda: clock.now().timestamp())
        self.running = RunningSimulator(self.simulator).start()
        self.http = loopback.client(base_url=self.running.url, timeout=5)
        self.app_key = f"key{next(_keys)}"
        self.ctl("openapi", app_key=self.app_key, app_secret=SECRET)

    def close(self) -> None:
        self.http.close()
        self.running.stop()

    def ctl(self, path: str, **body: Any) -> Any:
        answer = self.http.post(f"/_ctl/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def api(self, **other: str) -> OpenApiSettings:
        own = {"app_key": self.app_key, "app_secret": SECRET, "system_id": DEMO_SYSTEM_ID}
        return OpenApiSettings(self.running.url, **{**own, **other})

    def mqtt(self, *, period_s: float = 300.0, **other: Any) -> MqttSettings:
        own = self.simulator.mqtt.certificates
        pems = {"ca_pem": own.ca_pem, "certificate_pem": own.client_pem, "key_pem": own.client_key_pem}
        broker = f"127.0.0.1:{self.simulator.mqtt.port}"
        return MqttSettings(**{"api": self.api(), "broker": broker, "period_s": period_s, **pems, **other})

    def ledger(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        """What happened, oldest first."""
        entries = self.http.get("/_ctl/ledger").json()
        return [one for one in entries if one["kind"] == kind and wanted.items() <= one.items()]

    def asked(self, what: str) -> int:
        return len(self.ledger("openapi", what=what))


def payload(name: str) -> Any:
    return json.loads((SIGENERGY / f"{name}.json").read_text())


def values(fields: Fields) -> dict[Field, int | float]:
    return {name: measured.value for name, measured in fields.items()}
