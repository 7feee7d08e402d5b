"""The numbers of the product: one place, one name each, every one a setting (``HYGATE_<NAME>`` in the environment)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hygate import env


@dataclass(frozen=True)
class Numbers:
    """Times in seconds, unless the name says days. The defaults are the product's promises; tests may shorten them."""

    # a purchase
    hold_s: float = 600
    unpaid_of_device: int = 4
    unpaid_in_all: int = 20
    extend_least_left_s: float = 30
    checkout_expiry_s: float = 35 * 60
    start_window_s: float = 120
    queue_offer_s: float = 300
    queue_look_s: float = 15
    longest_power_wait_s: float = 1800
    longest_pause_s: float = 1800
    shed_settle_s: float = 15
    shed_calm_s: float = 60
    recon_s: float = 30
    stripe_reads_per_s: float = 10
    stripe_connect_s: float = 3
    stripe_timeout_s: float = 10
    stripe_key_lives_s: float = 23 * 3600
    # a relay
    command_timeout_s: float = 5
    read_timeout_s: float = 2
    attempts_per_round: int = 3
    attempt_pause_s: float = 0.5
    off_backoff_cap_s: float = 30
    gap_s: float = 1.1
    wide_gap_s: float = 2
    wide_gap_for_s: float = 600
    groups_size: int = 50
    timer_margin_s: int = 30
    status_every_s: float = 30
    offline_after_s: float = 150
    sync_every_s: float = 600
    circuit_after: int = 3
    probe_every_s: float = 5
    re_ons: int = 2
    re_on_apart_s: float = 10
    key_warn_days: int = 75
    key_error_days: int = 90
    # the engine
    sweep_s: float = 1
    sweep_silence_s: float = 3
    sweep_ahead_s: float = 1.25
    lease_relay_s: float = 8
    lease_stripe_s: float = 15
    lease_other_s: float = 10
    quarantine_s: float = 600
    # what a person is told
    alert_mail_after_s: float = 30
    off_alert_s: float = 60
    mail_timeout_s: float = 5


LIMITS = {
    "unpaid_of_device": (1, 60),
    "unpaid_in_all": (1, 60),
    "timer_margin_s": (5, 60),
    "groups_size": (1, 50),
    "attempts_per_round": (1, 3),
    "circuit_after": (1, 100),
    "re_ons": (0, 10),
    "key_warn_days": (1, 3650),
    "key_error_days": (1, 3650),
}


def from_environment() -> Numbers:
    """The defaults, each overridden by its environment variable where that is set."""
    chosen: dict[str, float | int] = {}
    for name, field in Numbers.__dataclass_fields__.items():
        least, most = LIMITS.get(name, (0, 10**7))
        variable = f"HYGATE_{name.upper()}"
        default: Any = field.default
        if field.type == "int":
            chosen[name] = env.whole(variable, default, least=least, most=most)
        else:
            chosen[name] = env.seconds(variable, default, least=least, most=most)
    return Numbers(**chosen)  # type: ignore[arg-type]
