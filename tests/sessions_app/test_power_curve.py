"""The power curve of a session: what is drawn, what stands beside it, and what the page says where there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from devices.energy.orders import PowerOrder
from devices.models import Device, PowerSample
from hygate import audit
from hygate.models import Role
from sessions_app.dashboard import evidence, power_chart, power_readings
from sessions_app.dashboard.power_chart import BOX, Curve
from sessions_app.dashboard.power_readings import Pause, Power
from sessions_app.models import DeviceSession
from sessions_app.power_events import on_power_order
from sessions_app.states import State
from tests.sessions_app.sales import Shop, browser
from tests.world import PLUG, World

VIENNA = ZoneInfo("Europe/Vienna")
ON = datetime(2026, 11, 21, 13, 2, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Samples = Sequence[tuple[float, int]]


@pytest.fixture(autouse=True)
def _static_files_need_no_collecting(settings: Any, tmp_path: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)


def power(samples: Samples, *, off_min: float | None = 60, pauses: Sequence[tuple[float, float]] = ()) -> Power:
    """Samples and pauses by the minute after ON."""
    read = [(ON + minute * MINUTE, watts) for minute, watts in samples]
    off_at = ON + off_min * MINUTE if off_min is not None else None
    stood = tuple(Pause(ON + since * MINUTE, ON + until * MINUTE) for since, until in pauses)
    return Power(ON, max(filter(None, (read[-1][0], off_at))), off_at, read, stood)


def drawn(samples: Samples, **more: Any) -> Curve:
    return power_chart.drawn(power(samples, **more), VIENNA)


def points(curve: Curve) -> list[list[tuple[int, int]]]:
    return [
        [(int(x), int(y)) for x, y in (pair.split(" ") for pair in part.split("L"))]
        for part in curve.line.split("M")[1:]
    ]


EVERY_MINUTE = [(minute, 1000 + 10 * minute) for minute in range(61)]


# -- what is known


def test_the_average_is_over_time_and_not_over_readings() -> None:
    """Ten readings of a peak that lasted a minute weigh as much as that minute."""
    peak = [(30 + tenth / 10, 2000) for tenth in range(11)]
    known = power([(0, 1000), (5, 1000), (10, 1000), (29.999, 1000), *peak, (31.001, 1000), (35, 1000)], off_min=35)
    assert known.average_w == round((10 * 1000 + 1 * 2000 + 4 * 1000) / 15)
    assert known.peak == (ON + 30 * MINUTE, 2000)


def test_a_single_reading_is_its_own_average() -> None:
    assert power([(1, 700)]).average_w == 700


def test_minutes_without_a_reading_and_pauses_break_the_line() -> None:
    whole = [(minute, 100) for minute in (*range(10), *range(20, 30), *range(32, 40))]
    assert len(power(whole).runs()) == 2
    assert len(power(whole, pauses=[(29.5, 31.5)]).runs()) == 3
    assert [len(run) for run in power([(0, 5), (1, 5), (2, 5)], pauses=[(0.5, 2)]).runs()] == [1, 1, 1]


# -- what is drawn


def test_the_curve_goes_from_on_to_off_below_a_top_that_fits() -> None:
    curve = drawn(EVERY_MINUTE)
    [line] = points(curve)
    assert [level.words for level in curve.levels] == ["0", "500", "1,000", "1,500", "2,000"]
    assert (curve.levels[0].at, curve.levels[-1].at, curve.unit) == (BOX.bottom, BOX.top, "W")
    assert (line[0], line[-1][0]) == ((BOX.left, BOX.y(1000, 0, 2000)), BOX.right)
    assert line[-1][1] == BOX.y(1600, 0, 2000) < line[0][1]
    assert [(edge.at, edge.words, edge.anchor) for edge in curve.edges] == [
        (BOX.left, "ON 14:02", "start"),
        (BOX.right, "OFF 15:02", "end"),
    ]


def test_times_are_full_ones_of_the_site_s_clock_and_none_is_cut_off() -> None:
    curve = drawn(EVERY_MINUTE)
    assert [mark.words for mark in curve.times] == ["14:10", "14:20", "14:30", "14:40", "14:50"]
    assert [mark.is_spare for mark in curve.times] == [False, True, False, True, False]
    assert curve.times[0].at == BOX.x(7.5 / 60)
    assert max(mark.at for mark in curve.times) <= BOX.right - power_chart.EDGE


@pytest.mark.parametrize(
    ("length_min", "first"),
    [(0.4, "14:02:30"), (2, "14:02:30"), (90, "14:15"), (60 * 24, "16:00"), (60 * 36, "Sat 18:00")],
)
def test_a_session_of_any_length_has_a_few_times_that_fit(length_min: float, first: str) -> None:
    curve = drawn([(0, 10), (length_min, 10)], off_min=length_min)
    assert curve.times[0].words == first
    assert 3 <= len(curve.times) <= power_chart.LABELS + 1


def test_a_great_power_is_told_in_kilowatts() -> None:
    curve = drawn([(0, 0), (30, 11_000)])
    assert (curve.unit, [level.words for level in curve.levels]) == ("kW", ["0", "5", "10", "15"])


def test_a_relay_that_draws_nothing_has_a_flat_line_at_the_bottom() -> None:
    curve = drawn([(0, 0), (30, 0)])
    assert {y for _, y in points(curve)[0]} == {BOX.bottom}
    assert curve.levels[-1].words == "10"


def test_a_peak_is_drawn_however_many_readings_there_are() -> None:
    week = [(minute / 2, 2400 if minute == 12_345 else 100) for minute in range(2 * 60 * 24 * 7)]
    curve = drawn(week, off_min=60 * 24 * 7)
    [line] = points(curve)
    assert min(y for _, y in line) == BOX.y(2400, 0, 3000)
    assert len(line) <= 2 * (BOX.right - BOX.left + 1)
    assert len(curve.line) < 12_000
    assert len(curve.rows) <= power_chart.ROWS + 1


def test_pauses_are_bands_and_the_words_count_them() -> None:
    curve = drawn(EVERY_MINUTE, pauses=[(15, 30)])
    [band] = curve.bands
    assert (band.x, band.x + band.width) == (BOX.x(0.25), BOX.x(0.5))
    assert band.says == "Paused from 14:17:30 to 14:32:30"
    assert curve.summary.endswith(" Paused 1 time.")


def test_a_relay_that_went_off_late_is_drawn_on_and_its_off_stands_where_it_was_wanted() -> None:
    curve = drawn([(minute, 500) for minute in range(61)], off_min=10)
    assert points(curve)[0][-1][0] == BOX.right
    assert [(edge.at, edge.words) for edge in curve.edges] == [(BOX.left, ""), (BOX.x(10 / 60), "OFF 14:12")]


def test_the_table_says_the_same() -> None:
    curve = drawn(EVERY_MINUTE)
    assert len(curve.rows) == 13
    assert (curve.rows[0].clock, curve.rows[0].average, curve.rows[0].peak) == ("14:00", "1,010\u00a0W", "1,020\u00a0W")
    assert curve.rows[-1].peak == "1,600\u00a0W"
    assert curve.summary == ("Power from 14:02 to 15:02: 1,300\u00a0W on average, 1,600\u00a0W at most, at 15:02.")


# -- on the page


def session_of(world: World, seconds: int = 600, watts: float = 1843) -> DeviceSession:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"watts": [watts]})
    session = world.buy(plan=world.add_plan(world.device, duration_s=seconds, grace_s=0))
    world.tell(session)
    world.go(8)
    return fresh(session)


def ordered(world: World, session: DeviceSession, what: Literal["pause", "resume"]) -> None:
    with transaction.atomic():
        on_power_order(PowerOrder(session.device_id, what, "power is short", world.now))


def fresh(session: DeviceSession) -> DeviceSession:
    return DeviceSession.objects.select_related("device__location").get(pk=session.pk)


def page(session: DeviceSession, role: str = Role.OPERATOR, live: str = "") -> str:
    return unescape(browser(role).get(f"/dashboard/sessions/{session.pk}/{live}").content.decode())


def test_a_session_that_is_over_shows_its_curve_its_figures_and_the_table(world: World) -> None:
    session = session_of(world)
    world.go(700)
    assert fresh(session).state == State.COMPLETED
    html = page(session)
    assert 'role="img" aria-label="Power from ' in html and '<path class="line power" d="M' in html
    assert re.search(r"<dt>On average</dt><dd>1,8\d\d\xa0W</dd>", html)
    assert re.search(r"<dt>At most</dt><dd>1,843\xa0W at \d\d:\d\d</dd>", html)
    assert re.search(r"<dt>Used</dt><dd>0\.3\d\xa0kWh</dd>", html)
    assert "ON 13:00" in html and "OFF 13:10" in html and "The same as a table" in html
    assert "style=" not in html.split('class="curve', 1)[1].split("</ol>")[0]


def test_while_it_runs_the_curve_is_part_of_what_is_asked_for_again(world: World) -> None:
    session, client = session_of(world), browser()
    live = f"/dashboard/sessions/{session.pk}/live/"
    assert "The curve begins with the second reading" in page(session)
    world.go(70)
    first = client.get(live)
    assert '<path class="line power"' in first.content.decode()
    assert "The same as a table" not in first.content.decode()
    mark = first.context["mark"]
    assert client.get(live, headers={"X-Seen": mark}).status_code == 204
    PowerSample.objects.create(device=session.device, at=world.now, watts=900)
    assert client.get(live, headers={"X-Seen": mark}).status_code == 200


def test_a_power_hold_is_a_band_on_the_curve(world: World) -> None:
    session = session_of(world, seconds=1200)
    world.go(200)
    ordered(world, session, "pause")
    world.go(120)
    assert fresh(session).state == State.PAUSED
    known = power_readings.measured(fresh(session), world.now)
    assert known is not None
    [pause] = known.pauses
    assert 190 < (pause.since - known.since).total_seconds() < 210
    assert "Paused: the minutes stand still" in page(session)
    ordered(world, session, "resume")
    world.go(60)
    assert fresh(session).state == State.RUNNING
    known = power_readings.measured(fresh(session), world.now)
    assert known is not None
    assert len(known.runs()) == 2
    assert (known.pauses[0].until - known.pauses[0].since).total_seconds() == pytest.approx(120, abs=10)


def test_a_relay_that_went_off_by_itself_is_a_band_from_when_it_was_last_seen_on(shop: Shop) -> None:
    session = sold(shop, samples=[(0, 50), (1, 50), (9, 50)])
    since = (ON + 1 * MINUTE).isoformat()
    audit.write("relay_went_off", session=session.pk, since=since)
    audit.write("session_stopping", session=session.pk)
    known = power_readings.measured(session, ON + 60 * MINUTE)
    assert known is not None
    assert known.pauses == (Pause(ON + MINUTE, ON + 30 * MINUTE),)


@pytest.fixture
def shop(transactional_db: None, manual_clock: Any) -> Shop:
    manual_clock.set(ON + 90 * MINUTE)
    return Shop()


def sold(shop: Shop, samples: Samples = (), days_ago: int = 0, watts: int | None = 0, **columns: Any) -> DeviceSession:
    """A session of half an hour with ``samples`` by the minute after ON."""
    on = ON - timedelta(days=days_ago)
    ran = {"started_at": on, "off_requested_at": on + 30 * MINUTE, "closed_at": on + 30 * MINUTE} | columns
    session = shop.sell(on, **ran).session
    PowerSample.objects.bulk_create(
        PowerSample(device=session.device, at=on + minute * MINUTE, watts=drew) for minute, drew in samples
    )
    Device.objects.update(watts=watts)
    return fresh(session)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ({"watts": None}, "This device does not measure its power, so there is no curve."),
        ({}, "No reading of its power was kept."),
        ({"samples": [(1, 1200)]}, "Over too soon for a curve: a single reading, 1,200\u00a0W."),
        ({"days_ago": 31}, "Readings of power are kept for 30 days; those of this session are gone."),
    ],
    ids=["no meter", "none", "one", "long ago"],
)
def test_where_there_is_no_curve_one_sentence_says_why(shop: Shop, made: dict[str, Any], sentence: str) -> None:
    html = page(sold(shop, **made))
    assert sentence in html
    assert "<figure>" not in html


def test_a_session_that_never_had_power_says_nothing_of_it(shop: Shop) -> None:
    html = page(sold(shop, started_at=None, state=State.CANCELLED, reason="hold_expired"))
    assert 'class="curve' not in html


def test_what_the_next_guest_draws_is_not_this_one_s(shop: Shop) -> None:
    first = sold(shop, samples=[(0, 100), (29, 100), (31, 2000)])
    PowerSample.objects.create(device=shop.dryer, at=ON + 5 * MINUTE, watts=3000)
    known = power_readings.measured(first, ON + 90 * MINUTE)
    assert known is not None
    assert [watts for _, watts in known.samples] == [100, 100]
    assert known.until == ON + 30 * MINUTE


def test_the_page_asks_no_more_for_many_samples_than_for_two(shop: Shop) -> None:
    session, client = sold(shop, samples=[(0, 100), (1, 100)]), browser()
    counts = []
    for first in (2, 400):
        with CaptureQueriesContext(connection) as asked:
            assert '<path class="line power"' in client.get(f"/dashboard/sessions/{session.pk}/").content.decode()
        counts.append(len(asked))
        PowerSample.objects.bulk_create(
            PowerSample(device=session.device, at=ON + (first + number) / 20 * MINUTE, watts=number)
            for number in range(150)
        )
    assert counts[0] == counts[1] <= 20
    mark = client.get(f"/dashboard/sessions/{session.pk}/live/").context["mark"]
    with CaptureQueriesContext(connection) as asked:
        assert client.get(f"/dashboard/sessions/{session.pk}/live/", headers={"X-Seen": mark}).status_code == 204
    assert sum("devices_powersample" in query["sql"] for query in asked.captured_queries) == 1


# -- as evidence


def test_the_evidence_names_average_and_peak_and_how_often_was_read(shop: Shop) -> None:
    session = sold(shop, samples=[(0, 1000), (10, 1000), (11, 1000), (12, 2000)])
    found = evidence.collected(session.payments.get(), ON + 90 * MINUTE)
    row = next(row for row in evidence._bought(found) if row.what.startswith("Power drawn"))
    assert (row.amount, row.under) == ("1,250\u00a0W", "2,000\u00a0W at most, by 4 readings")
    assert evidence.printed(found).startswith(b"%PDF-")


def test_evidence_of_a_device_that_measures_nothing_says_nothing_of_it(shop: Shop) -> None:
    found = evidence.collected(sold(shop).payments.get(), ON + 90 * MINUTE)
    assert found.power is None
    assert not [row for row in evidence._bought(found) if row.what.startswith("Power drawn")]
