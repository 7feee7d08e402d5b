"""A random history of one device: what guests, staff, networks and banks may do to it, and what must hold after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from devices.models import Device, RelayAttempt, RelayCommand, ShellyAccount
from hygate.models import AuditEvent, Role, User
from sessions_app import extending, money, selling, services
from sessions_app.models import DeviceSession, Payment, Refund, StripeWatch, WebhookEvent
from sessions_app.payments.checkout import CheckoutUnavailable, open_checkout
from sessions_app.payments.settling import nudge
from sessions_app.states import LIVE, PaymentStatus, Purpose, State
from tests.world import PLUG, World

HEAL_S = 1000
MOST_FREE_POWER_S = 60

waits = st.sampled_from([0.3, 1.2, 4.0, 11.0, 25.0, 70.0, 640.0])
relay_faults = st.fixed_dictionaries(
    {
        "on": st.sampled_from(["switch_on", "switch_off", "read"]),
        "do": st.sampled_from(["drop", "act_then_drop", "status"]),
        "status": st.sampled_from([200, 429, 500]),
        "times": st.integers(1, 5),
    }
)
stripe_faults = st.fixed_dictionaries(
    {
        "on": st.sampled_from(
            [
                *("checkout.sessions.create", "checkout.sessions.retrieve", "checkout.sessions.expire"),
                *("payment_intents.capture", "payment_intents.cancel", "refunds.create"),
            ]
        ),
        "do": st.sampled_from(["drop", "act_then_drop"]),
        "times": st.integers(1, 4),
    }
)
anything = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), waits),
        st.tuples(st.just("wait"), waits),
        st.tuples(st.just("hold"), st.none()),
        st.tuples(st.just("pay"), st.sampled_from(["pay", "pay", "pay", "decline", "abandon"])),
        st.tuples(st.just("tell"), st.sampled_from(["page", "webhook", "both"])),
        st.tuples(st.just("guest"), st.sampled_from(["start_now", "cancel_by_guest", "stop_by_guest"])),
        st.tuples(st.just("staff"), st.sampled_from(["stop_by_staff", "force_end", "retry_activation"])),
        st.tuples(st.just("relay_fault"), relay_faults),
        st.tuples(st.just("stripe_fault"), stripe_faults),
        st.tuples(st.just("online"), st.booleans()),
        st.tuples(st.just("price"), st.integers(50, 900)),
        st.tuples(st.just("bank"), st.sampled_from(["cancel", "refund"])),
        st.tuples(st.just("extend"), st.none()),
        st.tuples(st.just("drop"), st.none()),
    ),
    min_size=2,
    max_size=20,
)
BUYING: list[tuple[str, Any]] = [("hold", None), ("pay", "pay"), ("tell", "page"), ("wait", 6.5)]
STOPPING: list[list[tuple[str, Any]]] = [
    [],
    [("wait", 4.0), ("guest", "stop_by_guest")],
    [("wait", 11.0), ("staff", "stop_by_staff")],
    [("wait", 16.5), ("guest", "stop_by_guest")],
]
EXTENDING = st.tuples(
    st.sampled_from([0.3, 4.0, 11.0, 18.5, 19.0, 19.5, 25.0]),
    st.sampled_from(["pay", "pay", "pay", "decline"]),
    st.sampled_from(["page", "webhook", "both"]),
    st.lists(
        st.one_of(st.tuples(st.just("relay_fault"), relay_faults), st.tuples(st.just("drop"), st.none())), max_size=1
    ),
).map(lambda drawn: [("extend", None), ("wait", drawn[0]), ("pay", drawn[1]), *drawn[3], ("tell", drawn[2])])
"""More time is chosen, and paid at once, in the last moment, or too late."""
beginnings = st.one_of(
    st.tuples(EXTENDING, st.sampled_from([[], [("wait", 11.0), ("guest", "stop_by_guest")]])).map(
        lambda drawn: [*BUYING, *drawn[0], *drawn[1]]
    ),
    st.integers(0, len(BUYING)).map(lambda many: BUYING[:many]),
    st.tuples(st.lists(st.tuples(st.just("stripe_fault"), stripe_faults), max_size=1), st.sampled_from(STOPPING)).map(
        lambda drawn: [*BUYING[:3], *drawn[0], *BUYING[3:], *drawn[1]]
    ),
)
steps = st.tuples(beginnings, anything).map(lambda drawn: [*drawn[0], *drawn[1]])
"""Most histories begin with a purchase, as far as it gets; then anything may happen."""


@dataclass
class History:
    """Plays steps on a world; ``check`` looks at the ledgers, not at what the code thinks of itself."""

    world: World
    told: list[str] = field(default_factory=list)
    meddled: bool = False

    def clean(self) -> None:
        """The same world as new: no sale, no fault, everything off."""
        for table in (WebhookEvent, Refund, Payment, DeviceSession, RelayAttempt, RelayCommand, AuditEvent):
            table.objects.all().delete()
        self.world.shelly_server.call(self._quiet_simulators)
        self.world.stripe_server.call(self.world.stripe.faults.clear)
        self.world.stripe_server.call(self.world.stripe.ledger.entries.clear)
        Device.objects.update(
            must_be_off_since=None, off_expected_at=None, failed_last=False, output=False, online=True,
            seen_at=self.world.now, blocked_since=None, blocked_reason="", off_confirmed_at=None,
        )  # fmt: skip
        ShellyAccount.objects.update(
            status="ok", due_at=None, claimed_until=None, free_at=None, status_due_at=None, timeouts_in_row=0,
            timeout_devices=[], circuit_opened_at=None, wide_gap_until=None, limit_hits=0, sync_due_at=None,
        )  # fmt: skip
        StripeWatch.objects.update(due_at=None, claimed_until=None)
        self.world.plan.extendable, self.world.plan.max_total_s = True, 60
        self.world.plan.save(update_fields=["extendable", "max_total_s"])

    def _quiet_simulators(self) -> None:
        self.world.shelly.faults.clear()
        self.world.shelly.ledger.entries.clear()

    def play(self, plan: list[tuple[str, Any]]) -> None:
        for name, what in plan:
            self.told.append(f"{name} {what}")
            getattr(self, f"do_{name}")(what)
        self.heal()

    def heal(self) -> None:
        self.world.ctl(self.world.shelly_server, "DELETE", "/_ctl/faults")
        self.world.ctl(self.world.stripe_server, "DELETE", "/_ctl/faults")
        self.do_online(True)
        self.do_wait(HEAL_S)

    @property
    def session(self) -> DeviceSession | None:
        return DeviceSession.objects.order_by("-id").first()

    # -- what may happen

    def do_wait(self, seconds: float) -> None:
        self.world.go(seconds)

    def do_hold(self, _: None) -> None:
        try:
            session = self.world.hold()
        except selling.CannotBuy:
            return
        try:
            open_checkout(session.payments.get())
        except CheckoutUnavailable:
            self.told.append("  (no checkout)")

    def do_pay(self, way: str) -> None:
        for payment in Payment.objects.filter(status=PaymentStatus.PENDING, checkout_id__isnull=False):
            if self.world.stripe.books.sessions[payment.checkout_id or ""]["status"] == "open":
                self.world.at_checkout(payment, way)

    def do_tell(self, how: str) -> None:
        session = self.session
        if session is None:
            return
        if how in ("page", "both"):
            nudge(session)
        if how in ("webhook", "both"):
            newest = session.payments.order_by("-id").first()
            ref = newest.ref if newest is not None else ""
            number = WebhookEvent.objects.count()
            WebhookEvent.objects.create(
                event_id=f"evt_{session.pk}_{number}", kind="x", payment_ref=ref, due_at=self.world.now
            )
        self.world.go(0)

    def do_extend(self, _: None) -> None:
        session = self.session
        if session is None:
            return
        try:
            open_checkout(extending.order(session, self.world.plan))
        except (extending.CannotExtend, CheckoutUnavailable) as no:
            self.told.append(f"  (no more time: {no})")

    def do_drop(self, _: None) -> None:
        if (session := self.session) is not None:
            extending.drop(session)

    def do_guest(self, service: str) -> None:
        if (session := self.session) is not None:
            call: Callable[[DeviceSession], bool] = getattr(services, service)
            call(session)

    def do_staff(self, service: str) -> None:
        if (session := self.session) is not None:
            user, _ = User.objects.get_or_create(email="a@example.com", role=Role.ADMINISTRATOR)
            getattr(services, service)(session, user, "a random history")

    def do_relay_fault(self, fault: dict[str, Any]) -> None:
        self.world.fault(self.world.shelly_server, **fault)

    def do_stripe_fault(self, fault: dict[str, Any]) -> None:
        self.world.fault(self.world.stripe_server, **fault)

    def do_online(self, online: bool) -> None:
        self.world.ctl(self.world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": online})

    def do_price(self, price_minor: int) -> None:
        self.world.plan.price_minor = price_minor
        self.world.plan.save(update_fields=["price_minor"])

    def do_bank(self, what: str) -> None:
        held = [one for one in self.world.stripe.books.intents.values() if one["metadata"].get("order") in self._refs()]
        for intent in held:
            if what == "cancel" and intent["status"] == "requires_capture":
                self.meddled = True
                self.world.ctl(self.world.stripe_server, "POST", f"/_ctl/payment_intents/{intent['id']}/cancel")
            if what == "refund" and intent["status"] == "succeeded" and not intent.get("_meddled"):
                self.meddled = True

    def _refs(self) -> set[str]:
        return set(Payment.objects.values_list("ref", flat=True))

    # -- what must hold

    def check(self) -> None:
        assert not DeviceSession.objects.filter(state__in=LIVE).exists(), "I3: a session never came to its end"
        assert not RelayCommand.objects.filter(state__in=("queued", "sending", "accepted")).exists(), (
            "I14: open command"
        )
        for payment in Payment.objects.select_related("session"):
            self._check_money(payment)
        for session in DeviceSession.objects.all():
            bought = [one for one in session.payments.all() if one.purpose == Purpose.START or one.applied_at]
            assert session.duration_s == sum(one.duration_s for one in bought), "I15: seconds that nobody paid for"
            assert session.max_total_s is None or session.duration_s <= session.max_total_s, "I1: over the limit"
        self._check_power()

    def _check_money(self, payment: Payment) -> None:
        entries = [one for one in self.world.ledger(self.world.stripe_server) if one.get("order") == payment.ref]
        captured = [one["amount"] for one in entries if one["kind"] == "captured"]
        refunded = sum(one["amount"] for one in entries if one["kind"] == "refunded")
        authorized = [one for one in entries if one["kind"] == "authorized"]
        assert len(captured) <= 1, "I2: captured twice"
        net = sum(captured) - refunded
        session = payment.session
        wanted = payment.amount_minor * self._delivered_of(payment) // payment.duration_s
        lost = payment.status == PaymentStatus.FAILED
        too_small = 0 < wanted < money.minimum_minor(payment.currency)
        allowed = {0} if not authorized or lost else {wanted} | ({0} if too_small else set())
        assert net in allowed, f"I1: kept {net}, may keep {allowed} ({session.state}, {session.reason})"
        assert payment.status not in (PaymentStatus.PENDING, PaymentStatus.AUTHORIZED), "I3: money left hanging"
        assert payment.captured_minor == sum(captured), "I14: our books and Stripe's differ"
        assert payment.refunded_minor == refunded, "I14: our books and Stripe's differ"
        if session.state == State.COMPLETED:
            assert session.delivered_s == session.duration_s, "I15: a completed session delivered everything"

    @staticmethod
    def _delivered_of(payment: Payment) -> int:
        """The seconds of one order that were delivered: those before it are used up first, one never added has none."""
        if payment.purpose == Purpose.EXTENSION and payment.applied_at is None:
            return 0
        earlier = payment.session.payments.filter(pk__lt=payment.pk)
        before = sum(one.duration_s for one in earlier if one.purpose == Purpose.START or one.applied_at is not None)
        return max(0, min(payment.duration_s, (payment.session.delivered_s or 0) - before))

    def _check_power(self) -> None:
        changes = [one for one in self.world.ledger(self.world.shelly_server, "relay") if one["device"] == PLUG]
        assert not changes or changes[-1]["on"] is False, "I5: the relay was left on"
        for on, off in pairwise(changes):
            if on["on"]:
                self._check_stretch(on["t"], off["t"])

    def _check_stretch(self, on: float, off: float) -> None:
        """I4: power belongs to a session that was paid for, and does not outlive it by more than the bound."""
        slack = timedelta(seconds=MOST_FREE_POWER_S + self.world.settings.NUMBERS.timer_margin_s)
        owners = [
            one
            for one in DeviceSession.objects.filter(start_window_ends_at__isnull=False)
            if (ended := one.off_requested_at or one.closed_at)
            and one.created_at.timestamp() <= on
            and off <= (min(ended, one.ends_at or ended) + slack).timestamp()
        ]
        assert owners, f"I4: power from {on} to {off} without a session that wanted it"
