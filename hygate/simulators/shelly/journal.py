"""What survives a death of the simulator: the ledger line by line, the rest as one small file.

The entry of a move (a relay's, a light's) is written before the state that it belongs to. When the simulator dies
between the two, the answer has not left yet; the entry is dropped at the next start, so that ledger and world tell the
same story.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from hygate.simulators.base import Ledger

MOVES = ("relay", "light")


class Journal(Ledger):
    """A ledger that can keep itself in a file. ``moves`` counts what the saved state has to match."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.moves = 0
        self._file: TextIO | None = None
        self._unanswered: dict[int, int] = {}

    def add(self, kind: str, *, t: float | None = None, **fields: Any) -> dict[str, Any]:
        entry = super().add(kind, t=t, **fields)
        if kind in MOVES:
            self.moves += 1
        else:
            self._unanswered[id(entry)] = len(self.entries) - 1
        self._write(entry)
        return entry

    def answered(self, entry: dict[str, Any], status: int | None) -> None:
        """Write down how a request ended; None = the caller never got an answer."""
        entry["status"] = status
        self._write({"answered": self._unanswered.pop(id(entry)), "status": status})

    def open(self, path: Path, moves: int) -> None:
        """Take up the entries of an earlier run, of those about moves the first ``moves``, and write on."""
        self.entries[:0] = _read(path, moves) if path.exists() else []
        self.moves = sum(entry["kind"] in MOVES for entry in self.entries)
        fresh = path.with_suffix(path.suffix + ".new")
        fresh.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries))
        fresh.replace(path)
        self._file = path.open("a", buffering=1)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")


def _read(path: Path, moves: int) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for line in path.read_text().splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue  # the line that the dying simulator was writing
        if "answered" in content:
            entries[content["answered"]]["status"] = content["status"]
        else:
            entries.append(content)
    kept, seen = [], 0
    for entry in entries:
        seen += entry["kind"] in MOVES
        if entry["kind"] not in MOVES or seen <= moves:
            kept.append(entry)
    return kept
