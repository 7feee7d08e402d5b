"""Cloud Control API v2.0-beta: JSON in, an array, an empty body or ``{"error": …}`` out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from aiohttp import web

from hygate.simulators.shelly.cloud import ACCOUNT, CALL, KEY_FIELD, Account, Cloud
from hygate.simulators.shelly.device import Device
from hygate.simulators.shelly.light import Light
from hygate.simulators.shelly.relay import Relay

Part = TypeVar("Part", Relay, Light)
IDS_MAX = 10
SELECTABLE = ("status", "settings")
HTTP_OF = {"no_permissions": 400, "invalid_token": 401, "DEVICE_NOT_FOUND": 404}
# set/groups has fewer words than set/switch.
GROUP_CODES = {
    "no_permissions": "DEVICE_NOT_FOUND",
    "DEVICE_OFFLINE": "DEVICE_FAILED_COMMAND",
    "DEVICE_INVALID_MODE": "DEVICE_UNSUPPORTED_COMMAND",
    "DEVICE_INVALID_CHANNEL": "BAD_REQUEST",
}


class Refused(Exception):
    """A command that the cloud does not carry out; the text is the error's code."""

    def __init__(self, code: str, *messages: str) -> None:
        super().__init__(code)
        self.code, self.messages = code, messages


def refusal(code: str, messages: Iterable[str] = (), status: int | None = None) -> web.Response:
    body = {"error": code, "data": {"messages": list(messages)}}
    return web.json_response(body, status=status or HTTP_OF.get(code, 400))


class V2:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v2/devices/api/get", self.get)
        app.router.add_post("/v2/devices/api/set/switch", self.set_switch)
        app.router.add_post("/v2/devices/api/set/light", self.set_light)
        app.router.add_post("/v2/devices/api/set/groups", self.set_groups)

    async def get(self, request: web.Request) -> web.Response:
        """Unknown ids are absent from the array; wrong parameters are answered with HTTP 200."""
        wanted = _body(request)
        wrong = _wrong_in_get(wanted)
        if wrong:
            invalid = {"isok": False, "error": "VALIDATION_ERRORS", "data": {"messages": [wrong]}}
            return web.json_response(invalid)
        account = request[ACCOUNT]
        devices = (self._cloud.device(account, id) for id in wanted["ids"])
        found = {device.id: device for device in devices if device is not None}
        return web.json_response([self._entry(device, wanted) for device in found.values()])

    async def set_switch(self, request: web.Request) -> web.Response:
        wanted = _body(request)
        try:
            on, toggle_after = _command(wanted, also=("id", "channel"))
            device, relay = self._target(request[ACCOUNT], _id(wanted), wanted.get("channel", 0))
        except Refused as refused:
            return refusal(refused.code, refused.messages)
        self._switch(device, relay, on, toggle_after)
        return web.Response()

    async def set_light(self, request: web.Request) -> web.Response:
        """On and off only: what else the real one takes (brightness, colour, a timer) is refused as unknown."""
        wanted = _body(request)
        try:
            if "toggle_after" in wanted:
                raise Refused("BAD_REQUEST", "unknown parameters: toggle_after")
            on, _ = _command(wanted, also=("id", "channel"))
            device, light = self._light(request[ACCOUNT], _id(wanted), wanted.get("channel", 0))
        except Refused as refused:
            return refusal(refused.code, refused.messages)
        world = self._cloud.world
        world.shine(device, light, on=on, t=world.settle())
        return web.Response()

    async def set_groups(self, request: web.Request) -> web.Response:
        wanted = _body(request)
        try:
            groups = _groups(wanted, self._cloud.limits.groups_max)
            on, toggle_after = _command(groups["switch"]["command"]) if "switch" in groups else (False, None)
        except Refused as refused:
            return refusal(refused.code, refused.messages)
        failed: dict[str, str] = {}
        for kind, group in groups.items():
            for id in group["ids"]:
                try:
                    device, relay = self._group_target(request[ACCOUNT], id, kind)
                except Refused as refused:
                    failed[id] = GROUP_CODES.get(refused.code, refused.code)
                else:
                    self._switch(device, relay, on, toggle_after)
        return web.json_response({"failedCommands": failed}) if failed else web.Response()

    def _group_target(self, account: Account, id: str, kind: str) -> tuple[Device, Relay]:
        device_id, _, channel = id.rpartition("_")
        if not device_id or not channel.isdecimal():
            raise Refused("BAD_REQUEST")
        if kind != "switch" and self._cloud.device(account, device_id) is not None:
            raise Refused("DEVICE_UNSUPPORTED_COMMAND")  # no groups of lights or covers are simulated
        return self._target(account, device_id, int(channel))

    def _target(self, account: Account, id: str, channel: object) -> tuple[Device, Relay]:
        device, number = self._there(account, id, channel)
        if device.is_cover:
            raise Refused("DEVICE_INVALID_MODE")
        return device, _one_of(device.relays, number)

    def _light(self, account: Account, id: str, channel: object) -> tuple[Device, Light]:
        device, number = self._there(account, id, channel)
        return device, _one_of(device.lights, number)

    def _there(self, account: Account, id: str, channel: object) -> tuple[Device, int]:
        """A device that a command can reach, and the channel as a number."""
        if isinstance(channel, bool) or not isinstance(channel, int | float) or channel != int(channel):
            raise Refused("BAD_REQUEST", "channel must be a number")
        device = self._cloud.device(account, id)
        if device is None:
            raise Refused("no_permissions")
        if not device.online:
            raise Refused("DEVICE_OFFLINE")
        return device, int(channel)

    def _switch(self, device: Device, relay: Relay, on: bool, toggle_after: float | None) -> None:
        world = self._cloud.world
        world.switch(device, relay, on=on, cause="request", t=world.settle(), toggle_after=toggle_after)

    def _entry(self, device: Device, wanted: dict[str, Any]) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "id": device.id,
            "type": device.category,
            "code": device.model,
            "gen": f"G{device.family}",
            "online": int(device.online),
        }
        select, pick = wanted.get("select", []), wanted.get("pick", {})
        if "status" in select:
            entry["status"] = _picked(self._status(device), pick.get("status"))
        if "settings" in select:
            entry["settings"] = _picked({"DeviceInfo": device.info, **device.shown_settings()}, pick.get("settings"))
        return entry

    def _status(self, device: Device) -> dict[str, Any]:
        status = device.visible_status(self._cloud.world.settle())
        hidden = () if self._cloud.limits.v2_updated else ("_updated",)
        return {key: value for key, value in status.items() if key not in hidden}


def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object of the request; what is no object has no parameter at all and is refused for that."""
    body = request[CALL].json
    return {key: value for key, value in body.items() if key != KEY_FIELD} if isinstance(body, dict) else {}


def _id(wanted: dict[str, Any]) -> str:
    id = wanted.get("id")
    if not isinstance(id, str):
        raise Refused("BAD_REQUEST", "id must be a string")
    return id


def _one_of(parts: dict[int, Part], channel: int) -> Part:
    """A relay or a light; a device that has none of the kind fails the command."""
    if not parts:
        raise Refused("DEVICE_FAILED_COMMAND")
    if channel not in parts:
        raise Refused("DEVICE_INVALID_CHANNEL")
    return parts[channel]


def _command(command: object, also: tuple[str, ...] = ()) -> tuple[bool, float | None]:
    if not isinstance(command, dict):
        raise Refused("BAD_REQUEST", "command must be an object")
    unknown = set(command) - {"on", "toggle_after", *also}
    if unknown:
        raise Refused("BAD_REQUEST", f"unknown parameters: {', '.join(sorted(unknown))}")
    on, toggle_after = command.get("on"), command.get("toggle_after")
    if not isinstance(on, bool):
        raise Refused("BAD_REQUEST", "on is required and must be a boolean")
    is_number = isinstance(toggle_after, int | float) and not isinstance(toggle_after, bool) and toggle_after > 0
    if "toggle_after" in command and not is_number:
        raise Refused("BAD_REQUEST", "toggle_after must be a positive number of seconds")
    return on, toggle_after


def _groups(wanted: dict[str, Any], most: int | None) -> dict[str, Any]:
    if not wanted or set(wanted) - {"switch", "light", "cover"}:
        raise Refused("BAD_REQUEST", "one or more of switch, light, cover is required")
    for kind, group in wanted.items():
        ids = group.get("ids") if isinstance(group, dict) else None
        if not isinstance(ids, list) or not ids or not all(isinstance(id, str) for id in ids):
            raise Refused("BAD_REQUEST", f"{kind}.ids must be a list of <ID>_<CHANNEL>")
        if not isinstance(group.get("command"), dict) or set(group) != {"ids", "command"}:
            raise Refused("BAD_REQUEST", f"{kind} needs ids and command")
        if most is not None and len(ids) > most:
            raise Refused("BAD_REQUEST", f"{kind}.ids has more than {most} entries")
    return wanted


def _wrong_in_get(wanted: dict[str, Any]) -> str:
    """Why the parameters of ``get`` are refused; empty when they are not."""
    ids, select, pick = wanted.get("ids"), wanted.get("select", []), wanted.get("pick", {})
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
        return "ids must be a list of strings"
    if not 1 <= len(ids) <= IDS_MAX:
        return f"ids must have 1 to {IDS_MAX} entries"
    if not isinstance(select, list) or not set(map(str, select)) <= set(SELECTABLE):
        return "select takes status and settings"
    if not isinstance(pick, dict) or not all(isinstance(keys, list) for keys in pick.values()):
        return "pick must be an object of lists"
    unknown = set(wanted) - {"ids", "select", "pick"}
    return f"unknown parameters: {', '.join(sorted(unknown))}" if unknown else ""


def _picked(whole: dict[str, Any], keys: list[Any] | None) -> dict[str, Any]:
    return whole if keys is None else {key: whole[key] for key in keys if key in whole}
