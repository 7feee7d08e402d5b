"""``manage.py watch_energy``: hold the connections to all energy sources, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand

from devices.energy.watching.watcher import Watcher
from hygate import memory
from hygate.checks import OURS


class Command(BaseCommand):
    help = "Watch the energy sources: keep their latest readings, and shed load where a site draws too much."
    requires_system_checks = (Tags.models, OURS)

    def handle(self, *_args: Any, **_options: Any) -> None:
        memory.keep_what_is_loaded()
        asyncio.run(_run())


async def _run() -> None:
    task = asyncio.create_task(Watcher().run())
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return
