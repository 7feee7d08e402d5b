"""Idempotency keys as Stripe keeps them: the first answer is replayed, 500s included, for 24 hours.

Source: docs.stripe.com/api/idempotent_requests.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hygate.simulators.stripe.errors import StripeRefusal

KEPT_S = 24 * 3600
LONGEST_KEY = 255


class IdempotencyKeys:
    """``answers`` maps a key to ``{"fingerprint", "status", "body", "request", "at"}``, oldest first."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self._running: set[str] = set()

    def recall(self, key: str, fingerprint: str, now: float) -> dict[str, Any] | None:
        """The stored answer; None when the key is free, which is then taken until ``remember`` or ``forget``."""
        if len(key) > LONGEST_KEY:
            raise _conflict(f"Idempotency key must be at most {LONGEST_KEY} characters", 400)
        self._prune(now)
        if key in self._running:
            raise _conflict(
                "There is currently another in-progress request using this Idempotent Key (that probably means you"
                " submitted twice, and the other request is still going through). Please try again later.",
                409,
                "idempotency_key_in_use",
            )
        answer = self.answers.get(key)
        if answer is None:
            self._running.add(key)
        elif answer["fingerprint"] != fingerprint:
            raise _conflict(
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
                f" Try using a key other than '{key}' if you meant to execute a different request.",
                400,
            )
        return answer

    def remember(self, key: str, answer: dict[str, Any]) -> None:
        self._running.discard(key)
        self.answers[key] = answer

    def forget(self, key: str) -> None:
        self._running.discard(key)

    def _prune(self, now: float) -> None:
        for key in list(self.answers):
            if self.answers[key]["at"] > now - KEPT_S:
                return
            del self.answers[key]


def fingerprint_of(method: str, path: str, parameters: dict[str, Any]) -> str:
    """What makes two requests the same; a digest, so that the state file keeps no second copy of the parameters."""
    text = json.dumps([method, path, parameters], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _conflict(message: str, status: int, code: str | None = None) -> StripeRefusal:
    return StripeRefusal(message, status=status, kind="idempotency_error", code=code, stored=False)
