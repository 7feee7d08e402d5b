"""What a benchmark found: series of figures, and checks that say met or not met."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.bench.figures import summary

Bar = Literal["at_most", "exactly"]


@dataclass(frozen=True)
class Series:
    """One contender at one size. ``figures``: percentiles in ``unit``; ``facts``: whatever else counts."""

    contender: str
    size: str
    figures: dict[str, float | int]
    unit: str = "s"
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One promise held against its figure. ``measured`` null: the run gave no figure, and that is not met."""

    what: str
    measured: float | None
    bar: float
    unit: str = "s"
    kind: Bar = "at_most"

    @property
    def met(self) -> bool:
        if self.measured is None:
            return False
        return self.measured == self.bar if self.kind == "exactly" else self.measured <= self.bar

    @property
    def ratio(self) -> float | None:
        """Measured over allowed; null where the bar is zero or nothing was measured."""
        return None if self.measured is None or not self.bar else round(self.measured / self.bar, 3)


@dataclass(frozen=True)
class Finding:
    """What one benchmark (or one part of it) found."""

    series: list[Series] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    sizes: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        checks = [{**asdict(one), "ratio": one.ratio, "met": one.met} for one in self.checks]
        return {
            "sizes": self.sizes,
            "series": [asdict(one) for one in self.series],
            "checks": checks,
            "met": bool(checks) and all(one["met"] for one in checks),
            "notes": self.notes,
        }


def series_of(contender: str, size: str, samples: Sequence[float], *, unit: str = "s", **facts: Any) -> Series:
    return Series(contender, size, summary(samples), unit, facts)


def none_of(what: str, count: int) -> Check:
    """A check that something never happened."""
    return Check(what, float(count), 0.0, unit="", kind="exactly")


def joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several parts of one benchmark as one."""
    whole: dict[str, Any] = {"sizes": {}, "series": [], "checks": [], "notes": []}
    for part in parts:
        whole["sizes"] |= part["sizes"]
        for name in ("series", "checks", "notes"):
            whole[name] += part[name]
    whole["met"] = bool(whole["checks"]) and all(one["met"] for one in whole["checks"])
    return whole


def keep(path: Path, facts: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put ``found`` into the results file; benchmarks that did not run now stay as they were, with their own date."""
    before = json.loads(path.read_text()) if path.exists() else {"benchmarks": {}}
    whole: dict[str, Any] = {**facts, "benchmarks": dict(sorted({**before["benchmarks"], **found}.items()))}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n")
    return whole
