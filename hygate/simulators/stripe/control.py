"""The control plane: what a guest, the bank, the merchant's dashboard and bad luck do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from hygate.simulators.base import ControlError, control_body
from hygate.simulators.stripe import checkout, intents, refunds
from hygate.simulators.stripe.api import Api, key_digest
from hygate.simulators.stripe.books import Books, Json, public
from hygate.simulators.stripe.errors import StripeRefusal
from hygate.simulators.stripe.operations import OPERATIONS
from hygate.simulators.stripe.webhooks import Webhooks

Act = Callable[[str, Json], Any]
NAMES = {operation.name for operation in OPERATIONS}
TAMPERED_SESSION = ("amount_total", "currency", "client_reference_id", "metadata", "payment_status")
TAMPERED_INTENT = ("amount", "amount_received", "amount_capturable", "currency", "metadata")


class Control:
    def __init__(self, books: Books, webhooks: Webhooks, api: Api, advance: Callable[[float], float]) -> None:
        self._books, self._webhooks, self._api, self._advance = books, webhooks, api, advance

    def add_routes(self, app: web.Application) -> None:
        acts: dict[str, Act] = {
            "/_ctl/checkout/{id}/async": self.settle_later,
            "/_ctl/checkout/{id}/tamper": self.tamper_session,
            "/_ctl/checkout/{id}/{way}": self.guest,
            "/_ctl/payment_intents/{id}/cancel": self.cancel,
            "/_ctl/payment_intents/{id}/refund": self.refund,
            "/_ctl/payment_intents/{id}/tamper": self.tamper_intent,
            "/_ctl/refunds": self.refund_mode,
            "/_ctl/refunds/{id}": self.refund_status,
            "/_ctl/disputes": self.dispute,
            "/_ctl/disputes/{id}": self.close_dispute,
            "/_ctl/webhooks": self.webhooks,
            "/_ctl/clock": self.clock,
            "/_ctl/keys": self.keys,
            "/_ctl/stored_500": lambda _id, spec: asdict(self._api.add_knob("stored_500", spec)),
            "/_ctl/slow": lambda _id, spec: asdict(self._api.add_knob("slow", spec)),
        }
        for path, act in acts.items():
            app.router.add_post(path, self._handler(act))
        for path in ("/_ctl/stored_500", "/_ctl/slow"):
            app.router.add_delete(path, self._handler(self.clear_knobs))
        app.router.add_get("/_ctl/webhooks", self._handler(lambda _id, _spec: self._webhooks.report()))
        app.router.add_get("/_ctl/checkout", self._handler(self.sessions))

    def _handler(self, act: Act) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            spec = await control_body(request)
            if way := request.match_info.get("way"):
                spec["way"] = way
            try:
                answer = act(request.match_info.get("id", ""), spec)
            except StripeRefusal as refusal:
                raise ControlError(refusal.message) from refusal
            self._books.touch()
            self._books.save()
            return web.json_response(answer)

        return handle

    # -- the guest

    def guest(self, identifier: str, spec: Json) -> Json:
        session = self._books.find("sessions", identifier)
        return {"redirect": take_way(self._books, session, str(spec["way"])), "session": public(session)}

    def settle_later(self, identifier: str, spec: Json) -> Json:
        session = self._books.find("sessions", identifier)
        checkout.settle_later(self._books, session, bool(spec.get("succeed", True)))
        return public(session)

    def sessions(self, _identifier: str, _spec: Json) -> list[Json]:
        return [public(session) for session in self._books.sessions.values()]

    # -- the merchant's dashboard

    def cancel(self, identifier: str, _spec: Json) -> Json:
        intent = self._books.find("intents", identifier)
        return public(intents.cancel(self._books, intent, {"cancellation_reason": "requested_by_customer"}))

    def refund(self, identifier: str, spec: Json) -> Json:
        return refunds.create(self._books, {**spec, "payment_intent": identifier})

    # -- the banks

    def refund_mode(self, _identifier: str, spec: Json) -> Json:
        if spec.get("mode") not in refunds.MODES:
            raise ControlError(f"mode is one of {', '.join(refunds.MODES)}")
        self._books.refund_mode = spec["mode"]
        return {"mode": self._books.refund_mode}

    def refund_status(self, identifier: str, spec: Json) -> Json:
        refund = self._books.find("refunds", identifier)
        refunds.change_status(self._books, refund, str(spec.get("status")))
        return public(refund)

    def dispute(self, _identifier: str, spec: Json) -> Json:
        intent = self._books.find("intents", str(spec.get("payment_intent")))
        reason = str(spec.get("reason", "fraudulent"))
        return public(refunds.open_dispute(self._books, intent, amount=spec.get("amount"), reason=reason))

    def close_dispute(self, identifier: str, spec: Json) -> Json:
        dispute = self._books.find("disputes", identifier)
        refunds.close_dispute(self._books, dispute, str(spec.get("status")))
        return public(dispute)

    # -- bad luck

    def tamper_session(self, identifier: str, spec: Json) -> Json:
        session = self._books.find("sessions", identifier)
        session.update(_only(spec, TAMPERED_SESSION))
        return public(session)

    def tamper_intent(self, identifier: str, spec: Json) -> Json:
        """Another amount or currency than was asked for; received and capturable follow the amount unless given."""
        intent = self._books.find("intents", identifier)
        intent.update(_only(spec, TAMPERED_INTENT))
        for name in ("amount_received", "amount_capturable"):
            if "amount" in spec and name not in spec and intent[name]:
                intent[name] = spec["amount"]
        return public(intent)

    def webhooks(self, _identifier: str, spec: Json) -> Json:
        self._webhooks.change(spec)
        habits: Json = self._webhooks.report()["habits"]
        return habits

    def clock(self, _identifier: str, spec: Json) -> Json:
        return {"now": self._advance(float(spec.get("advance_s", 0)))}

    def keys(self, _identifier: str, spec: Json) -> Json:
        """``revoke``/``restore`` a key (``*``: all); ``forbid`` one the ``operations`` named (a missing scope)."""
        unknown = set(spec) - {"revoke", "restore", "forbid", "operations"} | set(spec.get("operations", [])) - NAMES
        if unknown:
            raise ControlError(f"Unknown: {sorted(unknown)}")
        if "revoke" in spec:
            self._books.revoked_keys.add(key_digest(str(spec["revoke"])))
        if "forbid" in spec:
            digest = key_digest(str(spec["forbid"]))
            self._api.forbidden |= {(digest, name) for name in spec.get("operations", NAMES)}
        if "restore" in spec:
            digest = key_digest(str(spec["restore"]))
            self._books.revoked_keys.discard(digest)
            self._api.forbidden = {entry for entry in self._api.forbidden if entry[0] != digest}
        return {"revoked": len(self._books.revoked_keys), "forbidden": len(self._api.forbidden)}

    def clear_knobs(self, _identifier: str, _spec: Json) -> Json:
        self._api.knobs.clear()
        return {}


def take_way(books: Books, session: Json, way: str) -> str | None:
    """One of the four ways on from the hosted page; answers where the guest goes, None to stay."""
    if way == "pay":
        return checkout.pay(books, session)
    if way == "pay_later":
        return checkout.pay_later(books, session)
    if way == "decline":
        checkout.decline(books, session)
        return None
    if way == "abandon":
        return checkout.cancel_address(session)
    raise ControlError(f"A guest can pay, decline, pay_later or abandon, not {way!r}")


def _only(spec: Json, names: tuple[str, ...]) -> Json:
    unknown = set(spec) - set(names)
    if unknown:
        raise ControlError(f"Unknown: {sorted(unknown)}; known: {', '.join(names)}")
    return spec
