"""One simulator in a process of its own (``python -m tests.bench.simulator shelly``); ends with its input."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import Any

from hygate.simulators.base import RunningSimulator, Simulator
from hygate.simulators.shelly import ShellySimulator
from hygate.simulators.stripe import StripeSimulator
from tests import loopback
from tests.bench.machine import ROOT

ANSWER_S = 60.0


def key_of(account: int) -> str:
    return f"key{account}"


def device_id(account: int, device: int) -> str:
    return f"{account:06x}{device:06x}"


class SimulatorProcess(RunningSimulator):
    """The same as ``RunningSimulator``, without sharing the harness's interpreter."""

    def __init__(self, which: str, **options: float | str) -> None:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._command = [sys.executable, "-m", "tests.bench.simulator", which, *words]
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    def start(self) -> SimulatorProcess:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        self._url = self._process.stdout.readline().strip()
        assert self._url, "The simulator did not start"
        return self

    @property
    def url(self) -> str:
        return self._url

    def stop(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait(20)
            self._process = None

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request to the control plane."""
        answer = loopback.request(method, f"{self.url}/_ctl/{path}", json=body, timeout=ANSWER_S)
        answer.raise_for_status()
        return answer.json()

    def fault(self, **spec: Any) -> None:
        self.control("POST", "faults", spec)

    def slow(self, seconds: float) -> None:
        """From now on every call takes ``seconds`` longer, and no other fault is in force."""
        self.control("DELETE", "faults")
        self.fault(on="*", do="delay", times=-1, seconds=seconds)

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.control("GET", "ledger") if entry["kind"] == kind]


def _shelly(options: argparse.Namespace) -> Simulator:
    """Accounts with ``devices`` relays each, all on, with a timer of their own that fires long after the run."""
    simulator, now = ShellySimulator(rate_limit_s=options.rate_limit), time.time()
    for account in range(options.accounts):
        simulator.add_account(key_of(account))
        for number in range(options.devices):
            device = simulator.add_device(key_of(account), device_id(account, number), "SNPL-00112EU", watts=(60.0,))
            if options.on_for:
                simulator.world.switch(
                    device, device.relays[0], on=True, cause="request", t=now, toggle_after=options.on_for
                )
    simulator.ledger.entries.clear()
    return simulator


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["shelly", "stripe"])
    parser.add_argument("--accounts", type=int, default=1)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--on-for", type=float, default=0)
    parser.add_argument("--rate-limit", type=float, default=0)
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--webhook-url")
    options = parser.parse_args()
    stripe = options.which == "stripe"
    simulator = StripeSimulator(webhook_url=options.webhook_url) if stripe else _shelly(options)
    if options.delay:
        simulator.faults.add({"on": "*", "do": "delay", "times": -1, "seconds": options.delay})
    running = RunningSimulator(simulator).start()
    sys.stdout.write(f"{running.url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    running.stop()


if __name__ == "__main__":
    main()
