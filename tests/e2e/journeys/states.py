"""Every state on phones and on a laptop, light and dark, in three languages: judged, and kept as pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.e2e.catalogue import ALL, SESSIONS, State, code_of
from tests.e2e.phone import Phone, Wrong
from tests.e2e.registry import journey
from tests.e2e.scene import LAPTOP, SMALL_PHONE, Scene

if TYPE_CHECKING:
    from devices.models import Location

BRANDS = {"seaside": "#153e63", "marina": "#ffc531", "meadow": "#3f9b4b"}
LONG_WORD, LONG_NAME = "Heavyduty" * 6 + "Washer", f"{'Laundromat' * 4} by the western gate"
"""As long as a name may be: a word that no line can hold, and words."""
PSEUDO, GERMAN = {"name": "hygate_language", "value": "en-xa"}, {"name": "hygate_language", "value": "de"}


@journey(
    "states",
    "every state on slow 4G: accessible, no target under 44 px, nothing too wide; light on a phone, in English",
    lane="look",
)
def states(scene: Scene) -> None:
    phone = scene.phone()
    phone.slow_down(cpu=1)
    _judge(scene, phone, ALL, "en", speaks_english=True)


@journey("dark", "every state in the dark, on a laptop", lane="look")
def dark(scene: Scene) -> None:
    _judge(scene, scene.phone(scheme="dark", viewport=LAPTOP), ALL, "en-dark-laptop")


@journey(
    "longer",
    "every state in the pseudo-language, two fifths longer: nothing is too wide, nothing untranslated",
    lane="look",
)
def longer(scene: Scene) -> None:
    phone = scene.phone()
    _speak(phone, PSEUDO)
    _judge(scene, phone, ALL, "xa", translated=True)


@journey("german-states", "every state in German", lane="look")
def german_states(scene: Scene) -> None:
    phone = scene.phone(scheme="dark")
    _speak(phone, GERMAN)
    _judge(scene, phone, ALL, "de-dark")


@journey("long-names", "names of 60 characters, on the smallest phone: nothing is too wide in any state", lane="look")
def long_names(scene: Scene) -> None:
    from devices.models import Device, Location

    phone, wrong = scene.phone(viewport=SMALL_PHONE), []
    location = Location.objects.create(name=LONG_NAME, timezone="Europe/Vienna", contact_phone="+43 1 234 567")
    for state in ALL:
        latest = Device.objects.latest("pk").pk if Device.objects.exists() else 0
        path = state.stage(scene.site)
        _lengthen(latest, location)
        phone.open(path)
        if os.environ.get("ALL"):
            scene.picture(phone, f"long/{state.name}")
        wrong += [f"{state.name}: {one}" for one in phone.sideways()]
    scene.expect(not wrong, "\n        ".join([f"{len(wrong)} of {len(ALL)} pages", *wrong]))


@journey("brands", "three brand colours keep their contrast, light and dark", lane="look")
def brands(scene: Scene) -> None:
    from hygate.models import SiteSettings

    wanted = [one for one in ALL if one.name in ("scan", "grace", "stop-question", "your-turn")]
    try:
        for name, color in BRANDS.items():
            SiteSettings.objects.update(brand_color=color)
            for scheme in ("light", "dark"):
                phone = scene.phone(scheme="light" if scheme == "light" else "dark")
                phone.page.wait_for_timeout(1100)  # a web process may know the settings for a second
                _judge(scene, phone, wanted, f"brand-{name}-{scheme}")
                scene.close()
    finally:
        SiteSettings.objects.update(brand_color=BRANDS["seaside"])


@journey("still", "who asked for less motion sees none; what changes is spoken", lane="look")
def still(scene: Scene) -> None:
    phone = scene.phone(still=True)
    for name in ("starting", "running"):
        state = next(one for one in SESSIONS if one.name == name)
        phone.open(state.stage(scene.site))
        moving = phone.page.evaluate("document.getAnimations().filter(one => one.playState === 'running').length")
        scene.expect(moving == 0, f"{name} moves {moving} things for somebody who asked for stillness")
    expect(phone.page.locator("#status")).to_have_attribute("role", "status")
    expect(phone.page.get_by_role("timer")).to_have_attribute("aria-live", "off")


@journey("keyboard", "buying needs no finger: tab to a plan, choose by arrow, press enter", lane="look")
def keyboard(scene: Scene) -> None:
    phone = scene.phone(viewport=LAPTOP)
    phone.open(code_of(scene.site.shown()))
    phone.page.locator("input[name=plan]:checked").focus()
    phone.page.keyboard.press("ArrowDown")
    expect(phone.page.locator("#buy button.btn-main")).to_contain_text("€3.60")
    outline = phone.page.evaluate("getComputedStyle(document.activeElement.closest('.plan')).outlineStyle")
    scene.expect(outline == "solid", "the chosen plan shows no focus")


def _lengthen(latest: int, location: Location) -> None:
    """Give whatever was staged after the device ``latest`` names as long as they may be."""
    from devices.models import Device, UsagePlan
    from sessions_app.models import DeviceSession, Payment

    staged = Device.objects.filter(account__name="staged", pk__gt=latest)
    staged.update(name=LONG_WORD, place=LONG_NAME, location=location)
    UsagePlan.objects.filter(device__in=staged).update(name=LONG_WORD, description=LONG_NAME)
    DeviceSession.objects.filter(device__in=staged).update(plan_name=LONG_WORD)
    Payment.objects.filter(session__device__in=staged).update(plan_name=LONG_WORD)


def _judge(
    scene: Scene,
    phone: Phone,
    wanted: Sequence[State],
    folder: str,
    *,
    translated: bool = False,
    speaks_english: bool = False,
) -> None:
    """Look at each state; all findings are named, not only the first. In English the first sentence counts too."""
    wrong = []
    for state in wanted:
        try:
            phone.complaints.clear()
            phone.open(state.stage(scene.site))
            if os.environ.get("ALL"):
                scene.picture(phone, f"{folder}/{state.name}")
            phone.look(state.name)
            if speaks_english:
                phone.reads(state.says)
            if translated:
                _is_all_translated(phone, state)
        except Wrong as error:
            wrong.append(f"{state.name}: {str(error).removeprefix(f'{state.name}: ')}")
    scene.expect(not wrong, "\n        ".join([f"{len(wrong)} of {len(wanted)} pages", *wrong]))


def _is_all_translated(phone: Phone, state: State) -> None:
    """In the pseudo-language each sentence of ours ends in waves; any other is the operator's, or was forgotten."""
    said: list[str] = phone.page.evaluate(
        """[...document.querySelectorAll('h1, h2, .say, .chip, .btn, .money, .points li, .note, .steps li, dt')]
           .filter(one => one.checkVisibility()).map(one => one.textContent.trim()).filter(Boolean)"""
    )
    ours = [one for one in said if "~" not in one and not one.startswith(("Washer", "Seaside", "Everyday", "Quick"))]
    if ours:
        raise Wrong(f"{state.name}: not translated: {ours}")


def _speak(phone: Phone, cookie: dict[str, str]) -> None:
    phone.context.add_cookies([{"name": cookie["name"], "value": cookie["value"], "url": phone.base_url}])
