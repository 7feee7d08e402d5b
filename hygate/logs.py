"""Logging: one line per event on standard error, with every secret scrubbed before it leaves the process.

Scrubbed twice: the message when its record is made, so that no handler of anybody's gets to see a secret, and the whole
line when it is written, because a traceback or an object beside the message (Django logs the request, whose address is
a guest's link) is spelled out only then.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRETS = re.compile(
    r"(auth_key[\"']?\s*[=:]\s*[\"']?)[^&\s\"',}]+"
    r"|\b((?:sk|rk)_(?:live|test)_)\w+|\b(whsec_)\w+|(/(?:session|line)/)[\w-]{20,}",
    re.IGNORECASE,
)
Event = MutableMapping[str, Any]


def scrub(text: str) -> str:
    """``text`` with auth keys, Stripe keys, webhook secrets and guests' links taken out."""
    return SECRETS.sub(lambda hit: next(part for part in hit.groups() if part) + "…", text)


def _scrub_event(_logger: Any, _method: str, event: Event) -> Event:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = scrub(value)
        elif not isinstance(value, bool | int | float | None) and (spelled := scrub(said := repr(value))) != said:
            event[key] = spelled
    return event


def _scrub_line(_logger: Any, _method: str, line: str) -> str:
    return scrub(line)


class ScrubbedRecord(logging.LogRecord):
    """A record whose message holds no secret, whoever writes it where."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.msg, str):
            self._scrub()

    def _scrub(self) -> None:
        try:
            said = self.getMessage()
        except (TypeError, ValueError):
            return  # a message and arguments that do not fit: logging itself reports that when it writes the line
        if (clean := scrub(said)) != said:
            self.msg, self.args = clean, ()


SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _scrub_event,
]


def configuration(level: str) -> dict[str, Any]:
    """Django's LOGGING, and structlog set up to go the same way."""
    logging.setLogRecordFactory(ScrubbedRecord)
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
                    _scrub_line,
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
            "fontTools": {"level": "WARNING"},
            "celery": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
            "django.server": {"level": "WARNING"},
        },
    }
