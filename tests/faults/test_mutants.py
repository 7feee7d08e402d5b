"""The seeded bugs still fit the source they are planted into."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS, Mutant, plant
from tests.stack.stack import ROOT


def test_there_are_the_twelve_of_the_plan() -> None:
    assert len({one.name for one in MUTANTS}) == 12
    assert all(one.edits and one.rows for one in MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_seeded_bug_fits_and_is_still_python(mutant: Mutant, tmp_path: Path) -> None:
    for edit in mutant.edits:
        there = tmp_path / edit.path
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / edit.path, there)
    plant(mutant, tmp_path)
    for edit in mutant.edits:
        compile((tmp_path / edit.path).read_text(), edit.path, "exec")
