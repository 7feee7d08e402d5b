"""Cloud Control API v1: forms in, ``{"isok": …}`` out.

Bodies marked "ours" are not known from the real cloud: no capture of them is public.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from hygate.simulators.shelly.cloud import ACCOUNT, CALL, Account, Cloud
from hygate.simulators.shelly.device import Device

Errors = dict[str, str]
INVALID_KEY: Errors = {"invalid_auth_key": "Wrong auth key"}
RATE_LIMITED: Errors = {"max_req": "Request limit reached!"}
WRONG_CHANNEL: Errors = {"wrong_channel": "Could not control this relay channel!"}
NO_DEVICE: Errors = {"device_not_found": "Device not found!"}  # ours
OFFLINE: Errors = {"device_offline": "Device is offline!"}  # ours
TURNS = ("on", "off", "toggle")


def refusal(errors: Errors, status: int) -> web.Response:
    return web.json_response({"isok": False, "errors": errors}, status=status)


def answer(data: dict[str, Any]) -> web.Response:
    return web.json_response({"isok": True, "data": data})


class V1:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def add_routes(self, app: web.Application) -> None:
        for path, handler in (
            ("/device/all_status", self.all_status),
            ("/device/status", self.device_status),
            ("/interface/device/list", self.device_list),
            ("/device/relay/control", self.relay_control),
        ):
            app.router.add_get(path, handler)
            app.router.add_post(path, handler)

    async def all_status(self, request: web.Request) -> web.Response:
        account, call = request[ACCOUNT], request[CALL]
        if account.raw_all_status is not None:
            return web.json_response(account.raw_all_status)
        with_info = call.given.get("show_info") == "true"
        statuses = {}
        for device in self._cloud.devices(account):
            info = {"_dev_info": device.dev_info()} if with_info else {}
            statuses[device.id] = {**device.visible_status(self._now()), **info}
        return answer({"devices_status": statuses or [], "pending_notifications": []})

    async def device_status(self, request: web.Request) -> web.Response:
        """An offline device still answers, with its last status."""
        account, id = request[ACCOUNT], request[CALL].given.get("id", "")
        device = self._cloud.device(account, id)
        if device is not None:
            return answer({"online": device.online, "device_status": device.visible_status(self._now())})
        raw = _raw_status(account, id)
        if raw is None:
            return refusal(NO_DEVICE, 400)
        return answer({"online": raw.get("_dev_info", {}).get("online", True), "device_status": raw})

    async def device_list(self, request: web.Request) -> web.Response:
        account = request[ACCOUNT]
        if account.raw_device_list is not None:
            return web.json_response(account.raw_device_list)
        entries: dict[str, Any] = {}
        for device in self._cloud.devices(account):
            for channel in sorted(device.relays or device.lights) or [0]:
                entry = _list_entry(device, channel)
                entries[entry["id"]] = entry
        return answer({"devices": entries or []})

    async def relay_control(self, request: web.Request) -> web.Response:
        """Reads its parameters from the form only; in a query they count as missing."""
        form = request[CALL].form
        if request.method != "POST" or form.get("turn") not in TURNS or not form.get("channel", "").isdecimal():
            return refusal(WRONG_CHANNEL, 400)
        device = self._cloud.device(request[ACCOUNT], form.get("id"))
        if device is None:
            return refusal(NO_DEVICE, 400)
        if not device.online:
            return refusal(OFFLINE, 200)
        relay = device.relays.get(int(form["channel"]))
        if relay is None:
            return refusal(WRONG_CHANNEL, 400)
        on = not relay.output if form["turn"] == "toggle" else form["turn"] == "on"
        self._cloud.world.switch(device, relay, on=on, cause="request", t=self._now())
        return answer({"device_id": device.id})

    def _now(self) -> float:
        return self._cloud.world.settle()


def _list_entry(device: Device, channel: int) -> dict[str, Any]:
    return {
        "id": f"{device.id}_{channel}" if channel else device.id,
        "type": device.model,
        "category": device.category,
        "gen": device.family,
        "channel": channel,
        "channels_count": max(1, len(device.relays or device.lights)),
        "mode": device.mode,
        "name": device.alias(channel),
        "room_id": 1,
    }


def _raw_status(account: Account, id: str) -> dict[str, Any] | None:
    statuses = (account.raw_all_status or {}).get("data", {}).get("devices_status", {})
    return next((s for key, s in statuses.items() if key.lower() == id.lower() and isinstance(s, dict)), None)
