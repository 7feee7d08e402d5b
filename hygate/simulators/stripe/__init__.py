"""A stand-in for Stripe that the real SDK talks to. See ``simulator.py``; rules by subject in the files beside it."""

from __future__ import annotations

from pathlib import Path

from hygate.simulators.stripe.simulator import StripeSimulator

__all__ = ["StripeSimulator", "build"]


def build(webhook_url: str | None, webhook_secret: str, state_path: Path | None) -> StripeSimulator:
    """The simulator as the demo runs it."""
    return StripeSimulator(webhook_url=webhook_url, webhook_secrets=(webhook_secret,), state_path=state_path)
