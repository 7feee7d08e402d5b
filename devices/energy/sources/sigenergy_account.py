"""What belongs to a Sigenergy account and not to a connection: token, limits, and answers that may not be asked anew.

Each endpoint once in five minutes for a station, ten requests a minute for all of them. Kept for the whole process;
what another process asked is met as 1201.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from devices.energy.sources.sigenergy_answers import BACK_OFF_S, AccountLocked, TooManyRequests
from devices.energy.sources.source import RateLimited

# five minutes, and a little for two clocks that do not agree
PERIOD = timedelta(seconds=305)
MINUTE = timedelta(seconds=60)
REQUESTS_A_MINUTE = 10


@dataclass(frozen=True)
class Answer:
    """What was answered, and as of when: the reply's own time, or that of its arrival."""

    content: Any
    at: datetime


class Account:
    """What all adapters of one app key in this process share: its token, its limits, and the last answers.

    ``what`` is an endpoint, ``station`` a system ID or empty for the whole account.
    """

    def __init__(self) -> None:
        self.token = ""
        self.renew_at = datetime.min.replace(tzinfo=UTC)
        self._sent: deque[datetime] = deque(maxlen=REQUESTS_A_MINUTE)
        self._quiet_until = self.renew_at
        self._quiet_for: type[RateLimited] = TooManyRequests
        self._due: dict[tuple[str, str], datetime] = {}
        self._refused: dict[tuple[str, str], int] = {}
        self._answers: dict[tuple[str, str], tuple[Answer, datetime]] = {}

    def spend(self, now: datetime) -> None:
        """Count one request of the ten a minute; raises ``RateLimited`` where none is left."""
        if now < self._quiet_until:
            raise self._quiet_for((self._quiet_until - now).total_seconds())
        if len(self._sent) == REQUESTS_A_MINUTE and now - self._sent[0] < MINUTE:
            raise TooManyRequests((self._sent[0] + MINUTE - now).total_seconds())
        self._sent.append(now)

    def due(self, what: str, station: str) -> datetime | None:
        """From when on this may be asked; None when at any time."""
        return self._due.get((what, station))

    def answer(self, what: str, station: str, now: datetime) -> Answer | None:
        """The last answer, while asking again is not allowed."""
        answer, came = self._answers.get((what, station), (None, now))
        return answer if timedelta(0) <= now - came < PERIOD else None

    def answered(self, what: str, station: str, answer: Answer, now: datetime) -> None:
        """Keep what came at ``now``; its own time may be older."""
        self._answers[what, station] = (answer, now)
        self._due[what, station] = now + PERIOD
        self._refused.pop((what, station), None)

    def back_off(self, what: str, station: str, refused: RateLimited, now: datetime) -> RateLimited:
        """Keep quiet for longer with every refusal in a row; the error tells how long."""
        if isinstance(refused, AccountLocked | TooManyRequests):
            until = now + timedelta(seconds=refused.wait_s)
            if until > self._quiet_until:
                self._quiet_until, self._quiet_for = until, type(refused)
            return refused
        times = self._refused.get((what, station), 0)
        self._refused[what, station] = times + 1
        wait_s = BACK_OFF_S[min(times, len(BACK_OFF_S) - 1)]
        self._due[what, station] = now + timedelta(seconds=wait_s)
        return type(refused)(wait_s)


_accounts: dict[tuple[str, str, str], Account] = {}


def account_of(base_url: str, app_key: str, app_secret: str) -> Account:
    """The one account of this process; another secret is another account, so that a wrong one meets no old token."""
    name = (base_url, app_key, sha256(app_secret.encode()).hexdigest())
    return _accounts.setdefault(name, Account())
