"""Lights and sensors below the devices: the staff looks at them and switches a light; nothing of it is sold.

They come after the page itself, which holds what guests wait for.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from devices.models import ShellyAccount
from devices.relays import lights
from devices.shelly.readings import Target
from hygate.roles import staff_only
from sessions_app.dashboard import frame, live
from sessions_app.dashboard.spelling import natural

NOT_SWITCHED = "The light was not switched"
WORDS = {True: "on", False: "off", None: "unknown"}


@require_safe
@staff_only
def listing(request: HttpRequest) -> HttpResponse:
    return live.answer(request, "_lights.html", shown(request.GET.get("find", "")))


def shown(words: str = "") -> dict[str, Any]:
    """Every light and sensor, or those that ``words`` name, as people count."""
    everything = lights.everywhere()
    lamps = sorted((one for one in everything[0] if _fits(words, one.name, one.target.shelly_id)), key=_order)
    sensors = sorted((one for one in everything[1] if _fits(words, one.name, one.shelly_id)), key=_order)
    counted = {"watched": len(lamps) + len(sensors), "mark": frame.mark((lamps, sensors))}
    return {"lights": lamps, "sensors": sensors, "lights_of": words} | counted


def _fits(words: str, *texts: str) -> bool:
    return any(words.casefold() in text.casefold() for text in texts)


def _order(one: lights.Light | lights.Sensor) -> tuple[Any, ...]:
    return natural(one.name), one.account


@require_POST
@staff_only
def switch(request: HttpRequest, pk: int, shelly_id: str, channel: int) -> HttpResponse:
    """Ask Shelly now, outside of any transaction; what was read back is swapped in."""
    get_object_or_404(ShellyAccount.objects.only("pk"), pk=pk)
    verdict = _switched(request, pk, Target(shelly_id, channel))
    if request.headers.get("HX-Request") == "true":
        return live.whole(request, "_lights.html", shown(request.POST.get("find", "")) | {"verdict": verdict})
    say = frame.done if verdict["tone"] == "ok" else frame.refused
    return say(request, reverse("dashboard:devices"), f"{verdict['title']}. {verdict['text']}")


def _switched(request: HttpRequest, pk: int, target: Target) -> dict[str, str]:
    wanted = {"1": True, "0": False}.get(request.POST.get("on", ""))
    if wanted is None:
        return _verdict("stop", NOT_SWITCHED, "Nothing was asked for: say on or off.")
    try:
        light = lights.switch(pk, target, on=wanted, by=frame.who(request))
    except lights.CannotSwitch as refusal:
        title = "Nobody knows yet whether the light was switched" if refusal.may_have_acted else NOT_SWITCHED
        return _verdict("stop", title, str(refusal), refusal.name)
    if light.output is wanted:
        return _verdict("ok", f"{light.name} is {WORDS[wanted]}", "Read back from Shelly.")
    text = f"Shelly took the command, but its reading says {WORDS[light.output]}. Look at the lamp, then try again."
    return _verdict("hold", f"{light.name} is not seen {WORDS[wanted]} yet", text)


def _verdict(tone: str, title: str, text: str, code: str = "") -> dict[str, str]:
    return {"tone": tone, "title": title, "text": text, "code": code}
