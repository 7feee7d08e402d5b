"""The rows of the fault plan, one module for each of its tables."""

from __future__ import annotations

import importlib

MODULES = (
    "payment",
    "payment_calls",
    "device_on",
    "device_off",
    "device_account",
    "device_hands",
    "runtime",
    "concurrency",
    "clocks",
    "energy",
    "queueing",
)


def load() -> None:
    """Enter every row into the registry."""
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}")
