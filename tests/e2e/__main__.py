"""``make e2e`` (``python -m tests.e2e``): play every journey in a real browser and print a line for each.

Two lanes run side by side, each with a browser of its own: purchases mostly wait for relays and banks, judging pages
mostly works. What would disturb the others, or be disturbed by them, is played after both, alone. ``ONLY=buy,offline``
picks some; ``ALL=1`` takes the pictures of every state in three languages, at two sizes, light and dark;
``AGAIN=1`` plays a few that failed once more, alone. Pictures lie in ``var/e2e``.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from playwright.sync_api import Error, sync_playwright

from tests.e2e.journeys import JOURNEYS
from tests.e2e.registry import Journey
from tests.e2e.scene import Scene, browser
from tests.e2e.site import Site, folder

BESIDE = ("walk", "look")
MOST_AGAIN = 4


def main() -> int:
    """0 when every journey that was played went well."""
    wanted = [name for name in os.environ.get("ONLY", "").split(",") if name] or list(JOURNEYS)
    if unknown := set(wanted) - set(JOURNEYS):
        sys.stderr.write(f"No journey is called {', '.join(sorted(unknown))}; there are {', '.join(JOURNEYS)}.\n")
        return 2
    shutil.rmtree(folder(), ignore_errors=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hygate-e2e-") as place:
        site = Site(Path(place))
        signal.signal(signal.SIGTERM, lambda *_: _give_up(site))
        try:
            site.start().enter()
            failed = _play_lanes(site, [JOURNEYS[name] for name in wanted])
            if os.environ.get("AGAIN") and len(failed) <= MOST_AGAIN:
                failed = _play_lane(site, failed)
        finally:
            site.close()
            _keep_logs(Path(place))
    sys.stdout.write(
        f"{len(wanted) - len(failed)} passed, {len(failed)} failed in {time.monotonic() - started:.0f} s\n"
    )
    return 1 if failed else 0


def _give_up(site: Site) -> NoReturn:
    """Somebody ends the run: nothing of it is left behind, and the lanes need not come to their end first."""
    site.close()
    os._exit(128 + signal.SIGTERM)


def _play_lanes(site: Site, wanted: Sequence[Journey]) -> list[Journey]:
    """Those that went wrong."""
    lanes = [[one for one in wanted if one.lane == lane] for lane in BESIDE]
    with ThreadPoolExecutor(max_workers=len(lanes)) as threads:
        failed = [one for lane in threads.map(lambda lane: _play_lane(site, lane), lanes) for one in lane]
    return failed + _play_lane(site, [one for one in wanted if one.lane not in BESIDE])


def _play_lane(site: Site, lane: Sequence[Journey]) -> list[Journey]:
    """One after the other, in a browser of their own; those that went wrong."""
    if not lane:
        return []
    with sync_playwright() as playwright, browser(playwright) as chromium:
        return [one for one in lane if not _play(one, Scene(site, chromium))]


def _play(journey: Journey, scene: Scene) -> bool:
    """Play one; a failure is a line and pictures, and the others go on."""
    began = time.monotonic()
    try:
        journey.play(scene)
    except Exception as error:
        scene.close(failed_as=journey.name)
        what = error if isinstance(error, AssertionError | Error) else f"{type(error).__name__}: {error}"
        _say(f"FAILED  {journey.name} ({time.monotonic() - began:.0f} s): {what}")
        return False
    scene.close()
    _say(f"ok      {journey.name} ({time.monotonic() - began:.0f} s): {journey.what}")
    return True


def _say(line: str) -> None:
    """At once and as one piece, whoever else speaks."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _keep_logs(place: Path) -> None:
    logs = folder() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for log in place.glob("*.log"):
        shutil.copy(log, logs)


if __name__ == "__main__":
    sys.exit(main())
