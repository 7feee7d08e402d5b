"""What every test stands on: simulation, a clock that is told to go on, and a world over real sockets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.world import World

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def manual_clock() -> Iterator[Any]:
    """Business time that stands still until a test moves it."""
    from hygate import clock

    manual = clock.ManualClock(START)
    with clock.using(manual):
        yield manual


@pytest.fixture
def world(transactional_db: None, settings: Any, manual_clock: Any) -> Iterator[World]:
    """Shelly and Stripe simulators on sockets of their own, one account, one device, one plan, one clock for all."""
    from tests.world import World

    made = World(settings, manual_clock)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def later(manual_clock: Any) -> Callable[[float], datetime]:
    """Move the clock on by seconds; answers the new moment."""

    def move(seconds: float) -> datetime:
        manual_clock.set(manual_clock.now() + timedelta(seconds=seconds))
        moment: datetime = manual_clock.now()
        return moment

    return move


@pytest.fixture(autouse=True)
def _nothing_remembered_from_another_test() -> Iterator[None]:
    """A process remembers Stripe's keys for some seconds, and what time others say it is."""
    yield
    import sys

    for name in ("sessions_app.payments.keyring", "hygate.clock_witness"):
        if (remembers := sys.modules.get(name)) is not None:
            remembers.forget()


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_found_once() -> Iterator[None]:
    """Each test client sets the middleware up anew, and finding the static files took most of what a page takes."""
    from django.conf import settings

    from hygate.statics import Statics

    find, found = Statics.add_files_from_finders, {}

    def found_before(statics: Statics) -> None:
        if settings.VAR_DIR not in found:
            find(statics)
            found[settings.VAR_DIR] = dict(statics.files)
        statics.files.update(found[settings.VAR_DIR])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Statics, "add_files_from_finders", found_before)
        yield


# -- a test that was left out has to be on the list of those that may be


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipGuard(), "skip-guard")


class SkipGuard:
    """Names every skip that ``allowed_skips.txt`` does not, and fails CI for it."""

    def __init__(self) -> None:
        lines = (line.strip() for line in ALLOWED_SKIPS.read_text().splitlines())
        self._allowed = [line.split(" | ", 1) for line in lines if line and not line.startswith("#")]
        self._unlisted: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look(report)

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        why = said.removeprefix("Skipped: ")
        if not any(report.nodeid.startswith(place) and why == reason for place, reason in self._allowed):
            self._unlisted.add(f"{report.nodeid} | {why}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in sorted(self._unlisted):
            terminalreporter.write_line(f"Skipped, and not in tests/allowed_skips.txt: {line}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        on_the_controller = not hasattr(session.config, "workerinput")
        if self._unlisted and on_the_controller and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
