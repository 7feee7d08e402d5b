"""What the watcher asks of a source, and how a source says that it cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from devices.energy.reading import Fields

Deliver = Callable[[Fields], Awaitable[None]]


class SourceError(Exception):
    """A source that cannot deliver. ``sentence`` says what is wrong, ``advice`` what to do; neither holds a secret.

    ``retryable``: whether asking again later, unchanged, can help. ``code`` is the error's name and its anchor in
    docs/troubleshooting.md.
    """

    retryable = True
    code = "energy-source"
    sentence = "The energy source does not deliver."
    advice = "Look at its connection."

    def __init__(self, sentence: str = "", advice: str = "") -> None:
        self.sentence = sentence or type(self).sentence
        self.advice = advice or type(self).advice
        super().__init__(self.sentence)


class Unreachable(SourceError):
    """No connection, or it broke, or no answer in time."""

    code = "energy-unreachable"


class Refused(SourceError):
    """Key, certificate, password, unit or rights are wrong: only a person can mend it."""

    retryable = False
    code = "energy-refused"


class RateLimited(SourceError):
    """Asked too often; ``wait_s`` is how long to keep quiet."""

    code = "energy-rate-limited"

    def __init__(self, wait_s: float, sentence: str = "", advice: str = "") -> None:
        super().__init__(sentence, advice)
        self.wait_s = wait_s


class Malformed(SourceError):
    """An answer that makes no sense; what it says is not used."""

    code = "energy-malformed"


class TooOld(SourceError):
    """The firmware lacks what is needed."""

    retryable = False
    code = "energy-firmware"


@dataclass(frozen=True)
class Found:
    """What *Test connection* saw: sentences for a person, and the fields of one reading."""

    sentences: tuple[str, ...]
    fields: Fields


class Source(Protocol):
    """One energy source, made from its settings row by its file's ``build``."""

    async def watch(self, deliver: Deliver) -> None:
        """Connect and deliver partial updates for ever; raises ``SourceError`` when the connection is lost.

        The caller starts it again with a growing pause; what was delivered stays known, with its age.
        """

    async def test(self) -> Found:
        """One look with these settings, within ten seconds; raises ``SourceError``."""
