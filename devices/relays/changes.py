"""What a batch of answers changes: gathered while one after the other is judged, then written together.

A chunk is twenty-five accounts, and each of its statements waits for the database and then for its turn to compute:
written one by one, the outcomes of a chunk take longer than its requests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from devices.models import Device, RelayAttempt, RelayCommand
from devices.relays.outcomes import RelayOutcome, RelayOutcomes
from hygate import audit
from hygate.due import outcomes
from hygate.each import update_each
from hygate.models import AuditEvent

Columns = dict[str, Any]


def _by_row() -> dict[int, Columns]:
    return defaultdict(dict)


@dataclass
class Changes:
    """Columns by the numbers of their rows, all of which are locked; and what is told once they are written."""

    now: datetime
    attempts: dict[int, Columns] = field(default_factory=_by_row)
    commands: dict[int, Columns] = field(default_factory=_by_row)
    devices: dict[int, Columns] = field(default_factory=_by_row)
    events: list[AuditEvent] = field(default_factory=list)
    outcomes: list[RelayOutcome] = field(default_factory=list)
    afterwards: list[Callable[[], object]] = field(default_factory=list)

    def move(self, command: RelayCommand, state: str, **columns: Any) -> None:
        """``command`` as it is from now on."""
        columns["state"] = state
        for name, value in columns.items():
            setattr(command, name, value)
        self.commands[command.pk] |= columns

    def write(self) -> None:
        update_each(RelayAttempt, self.attempts)
        update_each(RelayCommand, self.commands)
        update_each(Device, self.devices)
        audit.write_all(self.events)
        if self.outcomes:
            outcomes.publish(RelayOutcomes(tuple(self.outcomes)))
        for act in self.afterwards:
            act()
