"""Logging: one line per event on standard error, with every secret scrubbed before it leaves the process."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRETS = re.compile(
    r"(auth_key=)[^&\s\"']+|\b((?:sk|rk)_(?:live|test)_)\w+|\b(whsec_)\w+|(/session/)[\w-]{20,}", re.IGNORECASE
)
Event = MutableMapping[str, Any]


def scrub(text: str) -> str:
    """``text`` with auth keys, Stripe keys, webhook secrets and guests' links taken out."""
    return SECRETS.sub(lambda hit: next(part for part in hit.groups() if part) + "…", text)


def _scrub_event(_logger: Any, _method: str, event: Event) -> Event:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = scrub(value)
    return event


SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _scrub_event,
]


def configuration(level: str) -> dict[str, Any]:
    """Django's LOGGING, and structlog set up to go the same way."""
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [structlog.stdlib.ExtraAdder(), *SHARED],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.dev.ConsoleRenderer(colors=False),
                ],
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # httpx logs whole URLs, and the Shelly key travels in one
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            "stripe": {"level": "WARNING"},
            "celery": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
            "django.server": {"level": "WARNING"},
        },
    }
