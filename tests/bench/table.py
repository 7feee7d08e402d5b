"""The printed table: every contender beside ours with its ratio, then every promise and whether it was met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OURS = "hygate"


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole report of ``found`` (benchmark → its JSON) as text."""
    lines: list[str] = []
    for name, one in found.items():
        lines += ["", f"({name}) {one.get('title', '')}".rstrip(), *_series(one["series"]), *_checks(one["checks"])]
        lines += [f"  note: {note}" for note in one["notes"]]
    met = sum(check["met"] for one in found.values() for check in one["checks"])
    total = sum(len(one["checks"]) for one in found.values())
    return "\n".join([*lines, "", f"{met} of {total} promises met."])


def _series(series: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [("contender", "size", "n", "p50", "p99", "max", "p99 ÷ ours", "")]
    ours: dict[str, Mapping[str, float]] = {}
    for one in series:
        if one["contender"].startswith(OURS):
            ours.setdefault(one["size"], one["figures"])
    for one in series:
        figures = one["figures"]
        shown = [_figure(figures.get(key), one["unit"]) for key in ("p50", "p99", "max")]
        facts = ", ".join(f"{name} {value}" for name, value in one["facts"].items())
        ratio = _ratio(figures, ours.get(one["size"], {}))
        rows.append((one["contender"], one["size"], str(figures["n"]), *shown, ratio, facts))
    return _aligned(rows) if series else []


def _ratio(figures: Mapping[str, float], ours: Mapping[str, float]) -> str:
    own = ours.get("p99")
    return f"{figures['p99'] / own:.2f}" if own and figures.get("p99") is not None else "–"


def _checks(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [("promise", "measured", "bar", "")]
    for one in checks:
        sign = "=" if one["kind"] == "exactly" else "≤"
        measured, bar = _figure(one["measured"], one["unit"]), _figure(one["bar"], one["unit"])
        rows.append((one["what"], measured, f"{sign} {bar}", "met" if one["met"] else "NOT MET"))
    return _aligned(rows) if checks else []


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    digits = f"{value:.3f}" if unit == "s" else f"{value:.4g}"
    return f"{digits} {unit}".rstrip()


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
