"""Ends the demo's processes when their supervisor was killed and could not do it itself.

Started as a script of its own, so that it needs nothing but Python. It reads ``+<group>`` and ``-<group>`` lines; the
supervisor holds the other end of the pipe, and the kernel closes that whatever the supervisor dies of. The end of the
input is therefore the signal, on Linux and macOS alike; every group still named is ended, then killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

PATIENCE_S = 5.0


def main() -> None:
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    send(groups, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and any(is_alive(group) for group in groups):
        time.sleep(0.1)
    send(groups, signal.SIGKILL)


def send(groups: set[int], what: signal.Signals) -> None:
    for group in groups:
        with suppress(OSError):
            os.killpg(group, what)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
