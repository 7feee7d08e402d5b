"""What a process that stays does about its memory once it has loaded everything."""

from __future__ import annotations

import gc

LOOK_AFTER = 10_000
"""New objects before the collector looks at them: as many as a handful of pages make, in place of 700."""


def keep_what_is_loaded() -> None:
    """Take what was loaded at start from the garbage collector's care, and have it look less often.

    A full look at the modules of Django and Hygate (150,000 objects and more) stops all threads for a tenth of a
    second, in the middle of somebody's page or of switching off.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(LOOK_AFTER, *gc.get_threshold()[1:])
