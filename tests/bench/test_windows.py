"""Windows end with the first that keeps the promise, and after three of them."""

from __future__ import annotations

import pytest

from tests.bench.figures import windows


@pytest.mark.parametrize(
    ("measured", "found"),
    [((1, 9, 9), [1]), ((9, 1, 9), [9, 1]), ((9, 9, 1), [9, 9, 1]), ((9, 8, 7), [9, 8, 7])],
)
def test_a_window_is_looked_at_until_one_keeps_the_promise(measured: tuple[int, ...], found: list[int]) -> None:
    left = iter([*measured, 0])
    assert windows(lambda: next(left), lambda one: one <= 5) == found
