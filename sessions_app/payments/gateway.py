"""What Hygate asks of a payment provider, as a protocol, frozen facts and named errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol


class PaymentError(Exception):
    """Base of what can go wrong at the provider; ``name`` goes into rows and logs, never a key or a link."""

    name = "payment_error"
    retryable = True

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.name)


class ProviderDown(PaymentError):
    """No answer, or one of its own failures: it may have acted. Repeat with the same key."""

    name = "provider_down"


class ProviderFailed(ProviderDown):
    """It answered with a failure of its own, which it may have stored: the same key would bring the same answer."""

    name = "provider_failed"


class ProviderBusy(PaymentError):
    """Too many requests; nothing was done."""

    name = "provider_busy"


class KeyRefused(PaymentError):
    """The API key is wrong, revoked or lacks a right."""

    name = "key_refused"


class RightMissing(KeyRefused):
    """The key is fine, but was not given the right to do this."""

    name = "right_missing"


class RequestRefused(PaymentError):
    """The request can never succeed as it is."""

    name = "request_refused"
    retryable = False

    def __init__(self, detail: str = "", code: str = "") -> None:
        super().__init__(detail)
        self.code = code


class WrongState(RequestRefused):
    """The object is not in a state that allows this: read it again and decide anew."""

    name = "wrong_state"


class AmountTooSmall(RequestRefused):
    name = "amount_too_small"


IntentStatus = Literal[
    "requires_payment_method", "requires_confirmation", "requires_action", "processing", "requires_capture",
    "succeeded", "canceled",
]  # fmt: skip


@dataclass(frozen=True)
class Intent:
    """A PaymentIntent as last read. Amounts in minor units. ``site``: the mark of the site whose order it is.

    ``method_detail`` is what a person calls the method: "Visa ending 4242". No more of a card than that is kept.
    """

    id: str
    status: str
    amount_minor: int
    currency: str
    capturable_minor: int
    received_minor: int
    refunded_minor: int
    order: str
    method: str
    capture_before: datetime | None
    site: str = ""
    created_at: datetime | None = None
    method_detail: str = ""

    @property
    def funded(self) -> bool:
        """The money is held or taken; nothing else counts as paid."""
        return self.status in ("requires_capture", "succeeded")


@dataclass(frozen=True)
class Checkout:
    """A Checkout Session as last read, with its PaymentIntent once there is one."""

    id: str
    url: str
    status: Literal["open", "complete", "expired"]
    amount_minor: int
    currency: str
    order: str
    intent: Intent | None


@dataclass(frozen=True)
class RefundFacts:
    id: str
    status: str
    amount_minor: int


@dataclass(frozen=True)
class IntentPage:
    """One page of a listing, newest first; ``more`` says that older ones follow."""

    intents: tuple[Intent, ...]
    more: bool


Readable = Literal["checkout_sessions", "payment_intents", "refunds", "events", "disputes"]
"""What a key must be able to read: one right each."""


class Gateway(Protocol):
    """Every call has a time-out; every writing call an idempotency key that its row has stored before."""

    def create_checkout(self, params: dict[str, Any], *, key: str) -> Checkout: ...

    def read_checkout(self, checkout_id: str) -> Checkout: ...

    def expire_checkout(self, checkout_id: str, *, key: str) -> Checkout: ...

    def read_intent(self, intent_id: str) -> Intent: ...

    def capture(self, intent_id: str, amount_minor: int, *, key: str) -> Intent: ...

    def cancel(self, intent_id: str, *, key: str) -> Intent: ...

    def refund(self, intent_id: str, amount_minor: int, *, ref: str, key: str) -> RefundFacts: ...

    def read_refund(self, refund_id: str) -> RefundFacts: ...

    def refunds_of(self, intent_id: str) -> list[tuple[str, RefundFacts]]: ...

    def intents_since(self, since: datetime, *, after: str) -> IntentPage: ...

    def events_after(self, cursor: str) -> list[dict[str, Any]]: ...

    def unreadable(self, kinds: Iterable[Readable], *, key: str = "") -> tuple[Readable, ...]:
        """Read one object of each kind and forget it; answers the kinds for which the key has no right.

        ``key``: one that is only tried; empty: the key in force.
        """
