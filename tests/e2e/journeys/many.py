"""Hundreds of tiles: what a live update touches of them. How long that takes is the machine's; what is done is ours."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from hygate import clock
from tests.e2e.catalogue import CAPTURED, ran
from tests.e2e.desk import Desk
from tests.e2e.registry import journey
from tests.e2e.scene import Scene

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from devices.models import Device

TILES = 200
WATCH = """() => {
  const morph = Idiomorph.morph;
  window.drawn = new Set();
  Idiomorph.morph = (element, ...more) => { drawn.add(element.id); return morph(element, ...more); };
  const elementOf = (one) => one.target.nodeType === Node.TEXT_NODE ? one.target.parentElement : one.target;
  const isClock = (one) => one.type === "characterData" && elementOf(one).matches("[data-ends], [data-since]");
  const isMoment = (one) => one.target.name === "seen" || (one.attributeName || "").startsWith("data-") || isClock(one);
  new MutationObserver((changes) => {
    changes.filter((one) => !isMoment(one)).forEach((one) => drawn.add(elementOf(one).closest("[id]").id));
  }).observe(live, { attributes: true, characterData: true, childList: true, subtree: true });
}"""
DRAWN = "() => { const told = [...drawn].sort(); drawn.clear(); return told; }"
LATEST = (
    "moment => [...document.querySelectorAll('.tile [data-since]')].filter(one => +one.dataset.since === moment).length"
)


@journey(
    "desk-tiles", "200 tiles: a live update draws the one that changed anew, and only sets the clocks", lane="look"
)
def tiles(scene: Scene) -> None:
    rows = _many(scene)
    busy = rows.get(name="Slip 7")
    scene.site.staged_session("running", on=busy, pay=CAPTURED, **ran(24))
    rows.filter(pk=busy.pk).update(output=True, watts=1200)
    desk, tile = scene.desk(), f"tdashboarddevices{busy.pk}"
    desk.open(f"/dashboard/devices/?location={busy.location_id}")
    expect(desk.page.locator(".tile")).to_have_count(TILES)
    desk.page.evaluate(WATCH)

    rows.filter(pk=busy.pk).update(watts=1344)
    expect(desk.page.locator(f"#{tile}")).to_contain_text("1,344")
    _drew(scene, desk, [tile])

    desk.page.locator(f"#{tile}").focus()
    rows.filter(pk=busy.pk).update(watts=1455)
    expect(desk.page.locator(f"#{tile}")).to_contain_text("1,455")
    expect(desk.page.locator(f"#{tile}")).to_be_focused()
    _drew(scene, desk, [tile])

    read_at = (clock.now() + timedelta(days=2)).replace(microsecond=0)
    rows.update(seen_at=read_at)
    desk.page.wait_for_function(f"moment => ({LATEST})(moment) === {TILES}", arg=int(read_at.timestamp() * 1000))
    _drew(scene, desk, [])

    rows.filter(pk=busy.pk).update(name="Slip 7, by the crane")
    expect(desk.page.locator(f"#{tile}")).to_contain_text("by the crane")
    _drew(scene, desk, [tile])

    _in_the_list(scene, desk, rows)
    rows.filter(name="Slip 9").delete()
    expect(desk.page.locator(".tile")).to_have_count(TILES - 1)
    scene.expect("live" in desk.page.evaluate(DRAWN), "a tile went, and the part was not compared as a whole")
    rows.exclude(pk=busy.pk).delete()
    expect(desk.page.locator(".tile")).to_have_count(1)
    _press(desk, rows, busy, f"#{tile}")


def _in_the_list(scene: Scene, desk: Desk, rows: QuerySet[Device]) -> None:
    """A row and the counts above it change together, and nothing else does."""
    tiles, one = desk.page.url, rows.get(name="Slip 11")
    desk.open(f"{tiles}&view=list")
    desk.page.evaluate(WATCH)
    rows.filter(pk=one.pk).update(active=False)
    expect(desk.page.locator(f"#d{one.pk}")).to_contain_text("not for sale")
    expect(desk.page.locator("#states")).to_contain_text("Not for sale 1")
    _drew(scene, desk, [f"d{one.pk}", "states"])
    desk.open(tiles)
    desk.page.evaluate(WATCH)


def _press(desk: Desk, rows: QuerySet[Device], busy: Device, tile: str) -> None:
    """A tile that changes while somebody presses it is still opened."""
    desk.page.locator(tile).hover()
    desk.page.mouse.down()
    rows.filter(pk=busy.pk).update(watts=1566)
    expect(desk.page.locator(tile)).to_contain_text("1,566")
    desk.page.mouse.up()
    desk.page.wait_for_url(f"**/dashboard/devices/{busy.pk}/")


def _many(scene: Scene) -> QuerySet[Device]:
    """A slip with a socket for each tile, at a place of their own."""
    from devices.models import Device, Location

    one = scene.site.shown("Slip 1", location=Location.objects.create(name="Marina", timezone="Europe/Vienna"))
    same = {"location": one.location, "account": one.account, "kind": one.kind, "online": True, "output": False}
    Device.objects.bulk_create(
        Device(name=f"Slip {number}", shelly_id=f"slip{number}", seen_at=one.seen_at, reading_at=one.reading_at, **same)
        for number in range(2, TILES + 1)
    )
    return Device.objects.filter(location=one.location)


def _drew(scene: Scene, desk: Desk, wanted: list[str]) -> None:
    drawn = desk.page.evaluate(DRAWN)
    scene.expect(drawn == wanted, f"drawn anew: {drawn}, and not {wanted}")
