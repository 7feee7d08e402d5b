"""Verdicts, the printed table, and the shape of the results file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.machine import ROOT
from tests.bench.parts import BENCHMARKS
from tests.bench.results import Check, Finding, joined, keep, none_of, series_of
from tests.bench.table import table

NEEDED = {"title", "date", "commit", "load_before", "load_after", "took_s", "sizes", "series", "checks", "met", "notes"}


def finding(measured: float | None = 0.4) -> Finding:
    return Finding(
        series=[series_of("hygate", "N=1", [0.2, 0.4]), series_of("Celery eta", "N=1", [0.8], lost=1)],
        checks=[Check("OFF p99", measured, 0.5)],
    )


@pytest.mark.parametrize(("measured", "met"), [(0.5, True), (0.501, False), (None, False)])
def test_a_promise_is_met_up_to_its_bar_and_never_without_a_figure(measured: float | None, met: bool) -> None:
    assert Check("OFF p99", measured, 0.5).met is met


def test_one_lost_end_breaks_the_promise_that_none_is() -> None:
    assert none_of("lost", 0).met
    assert not none_of("lost", 1).met


def test_a_check_says_how_far_it_is_from_its_bar() -> None:
    assert Check("OFF p99", 1.0, 0.5).ratio == 2.0
    assert none_of("lost", 1).ratio is None


def test_a_benchmark_is_met_only_when_every_part_is() -> None:
    good, bad = finding().as_json(), finding(0.6).as_json()
    assert joined([good, good])["met"] is True
    assert joined([good, bad])["met"] is False


def test_a_benchmark_that_checked_nothing_is_not_met() -> None:
    assert Finding().as_json()["met"] is False


def test_the_table_sets_contenders_in_relation_to_ours() -> None:
    printed = table({"a": {"title": "ends", **finding(0.6).as_json()}})
    celery = next(line for line in printed.splitlines() if "Celery eta" in line)
    assert "2.00" in celery and "lost 1" in celery
    assert "NOT MET" in printed
    assert printed.endswith("0 of 1 promises met.")


def test_a_run_of_one_benchmark_keeps_the_others_results(tmp_path: Path) -> None:
    file = tmp_path / "bench" / "results.json"
    keep(file, {"date": "1"}, {"b": {"met": True}})
    keep(file, {"date": "2"}, {"a": {"met": False}})
    assert json.loads(file.read_text()) == {"date": "2", "benchmarks": {"a": {"met": False}, "b": {"met": True}}}


def test_the_kept_results_have_the_shape_that_readers_rely_on() -> None:
    kept = json.loads((ROOT / "bench" / "results.json").read_text())
    assert {"machine", "date", "commit"} <= set(kept)
    assert set(kept["benchmarks"]) <= set(BENCHMARKS)
    for one in kept["benchmarks"].values():
        assert set(one) >= NEEDED
        assert one["quick"] is False
        assert all({"contender", "size", "figures", "unit"} <= set(series) for series in one["series"])
        assert one["met"] == all(check["met"] for check in one["checks"])
