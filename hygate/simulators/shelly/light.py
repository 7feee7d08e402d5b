"""One light of a bulb or dimmer: on or off. Brightness, colour and a light's own timer are not simulated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

COMPONENT = re.compile(r"(?:light|rgb|rgbw|cct|rgbcct):(\d+)")


@dataclass
class Light:
    """``component``: what the status of a Gen2+ device calls it; empty for Gen1, which numbers its ``lights[]``."""

    channel: int
    output: bool = False
    source: str = "init"
    component: str = ""


def lights_of(status: dict[str, Any]) -> dict[int, Light]:
    """The lights that a device's own status shows, Gen1 or later."""
    found = {
        number: Light(number, bool(block.get("ison")), block.get("source", "init"))
        for number, block in enumerate(status.get("lights") or [])
    }
    for key, block in status.items():
        if match := COMPONENT.fullmatch(key):
            number = int(match[1])
            found[number] = Light(number, bool(block.get("output")), block.get("source", "init"), key)
    return found


def merge_light(status: dict[str, Any], light: Light) -> None:
    """Put how the light is now into the device's status."""
    if light.component:
        status[light.component].update(output=light.output, source=light.source)
    else:
        status["lights"][light.channel].update(ison=light.output, source=light.source)
