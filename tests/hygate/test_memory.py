"""The garbage collector leaves alone what was loaded at start, and still finds what is made later."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Iterator

import pytest

from hygate import memory


class Ring:
    """Refers to itself: only the collector finds it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with warnings.catch_warnings():
        # what threads of earlier tests left behind, connections among it, is not this test's
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_loaded_is_not_looked_at_again_and_what_comes_later_is() -> None:
    memory.keep_what_is_loaded()
    assert gc.get_freeze_count() > 10 * len(gc.get_objects())
    lost = weakref.ref(Ring())
    assert lost() is not None
    gc.collect()
    assert lost() is None
