"""The rows of the fault plan: each of its tables has a module, or one for each subject of a long table."""

from __future__ import annotations

import importlib

MODULES = (
    "payment",
    "payment_pages",
    "payment_money",
    "payment_outages",
    "device_on",
    "device_off",
    "device_account",
    "device_hands",
    "workers",
    "database",
    "broker",
    "restarts",
    "concurrency",
    "clocks",
    "energy",
    "queueing",
)


def load() -> None:
    """Enter every row into the registry."""
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}")
