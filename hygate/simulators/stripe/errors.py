"""Stripe's error bodies, as one exception that carries the HTTP status and the fields of ``error``."""

from __future__ import annotations

from typing import Any


class StripeRefusal(Exception):
    """An answer other than 200.

    ``stored``: whether an idempotency key remembers it. Stripe keeps what happened once execution began, and forgets
    refused parameters, conflicts and rate limits.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        stored: bool = True,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.kind = message, status, kind
        self.code, self.param, self.stored, self.extra = code, param, stored, extra or {}

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"message": self.message, "type": self.kind}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = f"https://docs.stripe.com/error-codes#{self.code.replace('_', '-')}"
        if self.param:
            error["param"] = self.param
        return {"error": {**error, **self.extra}}


def invalid_parameter(message: str, param: str, code: str | None = None) -> StripeRefusal:
    return StripeRefusal(message, param=param, code=code, stored=False)


def missing_object(noun: str, identifier: str, param: str = "id") -> StripeRefusal:
    return StripeRefusal(f"No such {noun}: '{identifier}'", status=404, code="resource_missing", param=param)


def unauthorized(message: str, code: str | None = None) -> StripeRefusal:
    return StripeRefusal(message, status=401, code=code, stored=False)
