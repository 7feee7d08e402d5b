"""Who ends when: the schedules that the product and its contenders share."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.simulator import device_id, key_of


@dataclass(frozen=True)
class Call:
    """One OFF: the key of the account and the device's id there."""

    key: str
    device: str


@dataclass(frozen=True)
class Schedule:
    """``n`` ends together, ``rounds`` times ``apart_s`` seconds; or ``n`` ends spread over ``over_s`` seconds."""

    n: int
    rounds: int = 1
    apart_s: float = 0.0
    over_s: float = 0.0

    @property
    def name(self) -> str:
        return f"N={self.n} over {self.over_s:g} s" if self.over_s else f"N={self.n}"

    @property
    def total(self) -> int:
        return self.n * self.rounds

    def ends(self, first: float) -> list[float]:
        """One moment (Unix seconds) for each of ``total`` accounts."""
        if self.over_s:
            return [first + self.over_s * number / self.n for number in range(self.n)]
        return [first + self.apart_s * (number // self.n) for number in range(self.total)]

    def by_device(self, first: float) -> dict[str, float]:
        return {device_id(number, 0): end for number, end in enumerate(self.ends(first))}

    def calls(self, first: float) -> dict[Call, float]:
        return {Call(key_of(number), device_id(number, 0)): end for number, end in enumerate(self.ends(first))}
