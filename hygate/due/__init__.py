"""The engine under everything that happens at a time: due rows, claims, wake-ups, outcomes.

The database owns time and truth: a row says what happens next and when. Workers lend threads. Losing the broker, beat,
any worker or the whole server delays a row; it never loses one.
"""

from hygate.due.claims import Claim, hand_back, still_mine
from hygate.due.registry import Handler, Queue, handlers, register
from hygate.due.row import About, Due, due_index, released
from hygate.due.wakeups import wake

__all__ = [
    "About",
    "Claim",
    "Due",
    "Handler",
    "Queue",
    "due_index",
    "hand_back",
    "handlers",
    "register",
    "released",
    "still_mine",
    "wake",
]
