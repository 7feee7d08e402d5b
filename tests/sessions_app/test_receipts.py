"""Receipts: sums that agree to the cent, numbers without a gap, and a page and a PDF that say the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hygate import clock
from hygate.models import AuditEvent, SiteSettings
from sessions_app.models import DeviceSession, Payment, Receipt, Refund
from sessions_app.payments import stripe_gateway
from sessions_app.receipts import services
from sessions_app.receipts.lines import Bill, VatShare, is_due, lines_of
from sessions_app.receipts.paper import day_of, method, percent
from sessions_app.services import stop_by_guest
from sessions_app.states import PaymentStatus, Purpose, RefundStatus, State
from tests.sessions_app.guest_pages import read, words
from tests.sessions_app.test_concurrency import at_once

if TYPE_CHECKING:
    from tests.world import World

BEGUN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RATES = st.sampled_from([0, 550, 700, 1000, 1900, 2000, 2300])


def order(pk: int = 1, **fields: Any) -> Payment:
    plain: dict[str, Any] = {
        "status": PaymentStatus.SUCCEEDED,
        "amount_minor": 360,
        "captured_minor": 360,
        "charge_minor": 360,
        "currency": "eur",
        "vat_rate_bp": 2300,
        "duration_s": 3600,
        "plan_name": "Everyday",
        "method_detail": "Visa ending 4242",
    }
    return Payment(pk=pk, **{**plain, **fields})


def over(delivered_s: int = 3600, **fields: Any) -> DeviceSession:
    return DeviceSession(state=State.COMPLETED, delivered_s=delivered_s, duration_s=3600, **fields)


# -- the sums


def test_a_whole_session_is_one_line_with_the_vat_that_is_in_it() -> None:
    bill = lines_of(over(), [order()], [])
    assert [item.total_minor for item in bill.items] == [360]
    assert [(share.rate_bp, share.net_minor, share.vat_minor) for share in bill.vat] == [(2300, 293, 67)]
    assert (bill.total_minor, bill.charged_minor, bill.returns) == (360, 360, ())


def test_minutes_not_delivered_are_a_line_of_their_own_and_a_refund() -> None:
    paid = order(charge_minor=210, refund_promised_minor=150)
    refund = Refund(pk=1, payment=paid, amount_minor=150, status=RefundStatus.PENDING)
    bill = lines_of(over(2100), [paid], [refund])
    (item,) = bill.items
    assert (item.undelivered_s, item.undelivered_minor, item.given_back_minor) == (1500, 150, 0)
    assert [(back.amount_minor, back.done) for back in bill.returns] == [(150, False)]
    assert [(share.net_minor, share.vat_minor) for share in bill.vat] == [(171, 39)]
    assert bill.total_minor == 210


def test_a_partial_capture_has_no_refund_and_comes_to_the_same() -> None:
    bill = lines_of(over(2100), [order(charge_minor=210, captured_minor=210)], [])
    assert (bill.total_minor, bill.charged_minor, bill.returns) == (210, 210, ())
    assert bill.items[0].undelivered_minor == 150


def test_money_given_back_by_staff_is_told_apart_from_minutes() -> None:
    paid = order(refund_promised_minor=100)
    refund = Refund(pk=1, payment=paid, amount_minor=100, status=RefundStatus.SUCCEEDED)
    (item,) = lines_of(over(), [paid], [refund]).items
    assert (item.undelivered_minor, item.given_back_minor, item.total_minor) == (0, 100, 260)


def test_a_refund_that_failed_is_still_owed() -> None:
    """Its row moves nothing, and ``refund_promised_minor`` has forgotten it; the settlement has not."""
    paid = order(charge_minor=210, refund_promised_minor=0)
    failed = Refund(pk=1, payment=paid, amount_minor=150, status=RefundStatus.FAILED)
    bill = lines_of(over(2100), [paid], [failed])
    assert bill.total_minor == 210
    assert [(back.amount_minor, back.done) for back in bill.returns] == [(150, False)]


def test_an_order_that_took_nothing_is_not_on_the_receipt() -> None:
    voided = order(2, purpose=Purpose.EXTENSION, status=PaymentStatus.VOIDED, captured_minor=0, charge_minor=0)
    assert len(lines_of(over(), [voided, order()], []).items) == 1


def test_an_extension_that_was_never_applied_uses_up_no_minutes() -> None:
    late = order(2, purpose=Purpose.EXTENSION, amount_minor=180, captured_minor=180, charge_minor=0, duration_s=1800)
    first, second = lines_of(over(3600), [order(), late], []).items
    assert (first.undelivered_s, second.undelivered_s, second.total_minor) == (0, 1800, 0)


@pytest.mark.parametrize(
    ("state", "fields", "due"),
    [
        (State.COMPLETED, {}, True),
        (State.CANCELLED, {}, True),
        (State.RUNNING, {}, False),
        (State.STOPPING, {}, False),
        (State.COMPLETED, {"captured_minor": 0, "status": PaymentStatus.VOIDED, "charge_minor": 0}, False),
        (State.COMPLETED, {"captured_minor": 0, "status": PaymentStatus.AUTHORIZED, "charge_minor": 210}, False),
    ],
)
def test_a_receipt_is_due_when_the_session_is_over_and_its_money_is_taken(
    state: State, fields: dict[str, Any], due: bool
) -> None:
    assert is_due(DeviceSession(state=state), [order(**fields)]) is due


def test_no_receipt_while_another_order_is_still_to_be_captured() -> None:
    extension = order(2, status=PaymentStatus.AUTHORIZED, captured_minor=0, charge_minor=180)
    assert not is_due(over(), [order(), extension])


@st.composite
def histories(draw: st.DrawFn) -> tuple[DeviceSession, list[Payment], list[Refund]]:
    """Any session that money can be taken for: up to five orders, each kept, cut, or paid back in parts."""
    orders: list[Payment] = []
    refunds: list[Refund] = []
    for pk in range(1, draw(st.integers(1, 5)) + 1):
        price = draw(st.integers(1, 100_000))
        charge = draw(st.one_of(st.none(), st.integers(0, price)))
        captured = draw(st.sampled_from([price, price if charge is None else max(charge, 1)]))
        promised = draw(st.integers(0, captured))
        made = order(
            pk,
            purpose=Purpose.START if pk == 1 else Purpose.EXTENSION,
            applied_at=draw(st.sampled_from([None, BEGUN])),
            amount_minor=price,
            charge_minor=charge,
            captured_minor=captured,
            refund_promised_minor=promised,
            vat_rate_bp=draw(RATES),
            duration_s=draw(st.integers(1, 7200)),
        )
        orders.append(made)
        if promised:
            first = draw(st.integers(1, promised))
            for amount in filter(None, (first, promised - first)):
                status = draw(st.sampled_from([RefundStatus.OWED, RefundStatus.PENDING, RefundStatus.SUCCEEDED]))
                refunds.append(Refund(pk=len(refunds) + 1, payment=made, amount_minor=amount, status=status))
    return over(draw(st.integers(0, 40_000))), orders, refunds


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # rows take long to make on a busy machine
@given(histories())
def test_all_sums_agree_to_the_cent(history: tuple[DeviceSession, list[Payment], list[Refund]]) -> None:
    session, orders, refunds = history
    bill: Bill = lines_of(session, orders, refunds)
    total = bill.total_minor
    assert sum(share.gross_minor for share in bill.vat) == total
    assert sum(share.net_minor + share.vat_minor for share in bill.vat) == total
    assert bill.charged_minor - bill.returned_minor == total
    assert total >= 0
    assert len({share.rate_bp for share in bill.vat}) == len(bill.vat)
    for item in bill.items:
        assert item.undelivered_minor >= 0
        assert item.given_back_minor >= 0
        assert 0 <= item.total_minor <= item.price_minor


@given(gross=st.integers(0, 10_000_000), rate_bp=st.integers(0, 10_000))
def test_vat_is_rounded_half_up_and_never_off_by_more_than_half_a_cent(gross: int, rate_bp: int) -> None:
    share = VatShare(rate_bp, gross)
    exact_times = gross * rate_bp * 2
    whole = 10_000 + rate_bp
    assert -whole < share.vat_minor * whole * 2 - exact_times <= whole
    assert share.net_minor >= 0


def test_half_a_cent_of_vat_is_rounded_up() -> None:
    assert (VatShare(10_000, 1).vat_minor, VatShare(10_000, 3).vat_minor) == (1, 2)


@pytest.mark.parametrize(("bp", "said"), [(2000, "20%"), (550, "5.5%"), (2125, "21.25%"), (0, "0%")])
def test_rates_are_spelled_without_needless_zeros(bp: int, said: str) -> None:
    assert percent(VatShare(bp, 1)) == said


# -- the numbers


def sold(world: World, **plan: Any) -> DeviceSession:
    """A session that ran its time and was paid."""
    session = world.buy(plan=world.add_plan(world.device, name="Everyday", **plan) if plan else None)
    world.tell(session)
    world.go(60)
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    return session


def again(world: World) -> DeviceSession:
    """One more session like it, over and paid, without the engine's work."""
    made = world.hold()
    DeviceSession.objects.filter(pk=made.pk).update(
        state=State.COMPLETED,
        started_at=world.now,
        ends_at=world.now,
        closed_at=world.now,
        delivered_s=made.duration_s,
        due_at=None,
    )
    Payment.objects.filter(session=made).update(
        status=PaymentStatus.SUCCEEDED, captured_minor=250, charge_minor=250, due_at=None
    )
    return DeviceSession.objects.get(pk=made.pk)


def test_numbers_count_up_without_a_gap_and_are_given_once(world: World) -> None:
    one, two = again(world), again(world)
    assert services.number(one, world.now).number == "R-2026-0001"
    assert services.number(two, world.now).number == "R-2026-0002"
    assert services.number(one, world.now).number == "R-2026-0001"
    assert AuditEvent.objects.filter(kind="receipt_numbered").count() == 2


def test_a_number_that_was_rolled_back_leaves_no_gap(world: World) -> None:
    one, two = again(world), again(world)
    with transaction.atomic():
        assert services.number(one, world.now).serial == 1
        transaction.set_rollback(True)
    assert services.number(two, world.now).number == "R-2026-0001"


def test_the_year_is_that_of_the_place(world: World) -> None:
    one, two = again(world), again(world)
    new_year = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)  # half past midnight in Vienna
    assert services.number(one, new_year - timedelta(hours=1)).number == "R-2026-0001"
    assert services.number(two, new_year).number == "R-2027-0001"


def test_many_who_ask_at_once_get_numbers_without_gap_or_double(world: World) -> None:
    sessions = [again(world) for _ in range(4)]
    results = at_once(12, lambda index: services.number(sessions[index % 4], world.now).number)
    assert not [one for one in results if isinstance(one, Exception)]
    assert sorted(set(results)) == [f"R-2026-000{n}" for n in range(1, 5)]
    for index in range(4):
        assert len({results[index], results[index + 4], results[index + 8]}) == 1


def test_the_database_refuses_a_serial_twice(world: World) -> None:
    one, two = again(world), again(world)
    services.number(one, world.now)
    with pytest.raises(IntegrityError), transaction.atomic():
        Receipt.objects.create(session=two, year=2026, serial=1, number="R-2026-1")


def test_the_seller_stays_as_it_was_when_the_receipt_was_made(world: World) -> None:
    SiteSettings.objects.update_or_create(
        pk=1, defaults={"legal_name": "Seaside Camping Ltd", "legal_address": "Strand Road 12", "vat_number": "IE 1X"}
    )
    session = again(world)
    services.number(session, world.now)
    SiteSettings.objects.filter(pk=1).update(legal_name="Somebody Else", legal_address="Elsewhere")
    text = read(Client(), f"/session/{session.token}/receipt/")
    assert "Seaside Camping Ltd, Strand Road 12" in text
    assert "VAT no. IE 1X" in text
    assert "Somebody Else" not in text


# -- what Stripe says of the method


def test_the_card_is_remembered_by_brand_and_last_four_as_stripe_tells_it(world: World) -> None:
    session = world.buy()
    world.tell(session)
    assert session.payments.get().method_detail == "Visa ending 4242"


def test_a_debit_is_remembered_by_its_own_name(world: World) -> None:
    session = world.hold()
    payment = session.payments.get()
    from sessions_app.payments.checkout import open_checkout

    open_checkout(payment)
    world.at_checkout(payment, "pay_later")
    world.ctl(world.stripe_server, "POST", f"/_ctl/checkout/{payment.checkout_id}/async", {"succeed": True})
    world.tell(session)
    assert session.payments.get().method_detail == "SEPA debit ending 3000"


def test_a_method_without_a_number_is_called_by_its_name() -> None:
    class Details:
        paypal = object()

    assert stripe_gateway._method_detail("paypal", Details()) == "PayPal"
    assert stripe_gateway._method_detail("", None) == ""
    assert method("") == "Paid online"
    assert method("Visa ending 4242") == "Visa ending 4242"


# -- the page and the PDF


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "22 November 2026"), ("de", "22. November 2026"), ("it", "22 novembre 2026"), ("nl", "22 november 2026")],
)
def test_the_date_is_written_as_the_language_writes_it(language: str, said: str) -> None:
    with translation.override(language):
        assert day_of(datetime(2026, 11, 22, tzinfo=UTC)) == said


def test_the_receipt_says_what_was_sold_what_it_comes_to_and_how_it_was_paid(world: World) -> None:
    session = sold(world)
    text = " ".join(row_by_row(Client().get(f"/session/{session.token}/receipt/")))
    for said in (
        "R-2026-0001",
        "You paid €2.50.",
        "Nothing more will be charged.",
        "Quick, 20 s",
        "Washer 1",
        "Total €2.50",
        "Net €2.08",
        "VAT 20% €0.42",
        "Visa ending 4242",
        f"Session {session.reference}",
        "Save as PDF",
    ):
        assert said in text, said


def row_by_row(response: Any) -> list[str]:
    """The page's words, what and amount of a row apart."""
    return [words(SimpleNamespace(content=part.encode())) for part in response.content.decode().split("</th>")]


def test_a_session_stopped_early_shows_what_was_not_delivered_and_what_goes_back(world: World) -> None:
    session = world.buy(plan=world.add_plan(world.device, name="Long", duration_s=3600, grace_s=0, price_minor=360))
    world.tell(session)
    world.go(600)
    stop_by_guest(session)
    world.go(60)
    text = read(Client(), f"/session/{session.token}/receipt/")
    payment = session.payments.get()
    kept = f"€{payment.charge_minor or 0:03d}"
    assert f"You paid {kept[:-2]}.{kept[-2:]}." in text
    assert "not delivered" in text
    assert "On 13:00" in text
    assert "Refund, sent" in text
    assert "€3.60 charged" in text


def test_there_is_no_receipt_before_the_end_or_without_a_charge(world: World) -> None:
    session = world.buy()
    world.tell(session)
    for path in ("receipt/", "receipt.pdf"):
        answer = Client().get(f"/session/{session.token}/{path}")
        assert (answer.status_code, answer["Location"]) == (303, f"/session/{session.token}/")
    from sessions_app.services import cancel_by_guest

    cancel_by_guest(session)
    world.go(30)
    assert Client().get(f"/session/{session.token}/receipt/").status_code == 303
    assert not Receipt.objects.exists()


def test_the_session_page_leads_to_the_receipt(world: World) -> None:
    session = sold(world)
    body = Client().get(f"/session/{session.token}/").content.decode()
    assert f'href="/session/{session.token}/receipt/"' in body
    assert body.count("btn-main") == 1


def test_the_pdf_carries_the_same_and_prints_every_name(world: World) -> None:
    world.location.name = "Łódź · Ελλάδα · Кирилл"
    world.location.save(update_fields=["name"])
    world.device.name = "Pralka ąłŻ Ελ Кир"
    world.device.save(update_fields=["name"])
    session = sold(world)
    answer = Client().get(f"/session/{session.token}/receipt.pdf")
    assert answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"] == 'attachment; filename="R-2026-0001.pdf"'
    assert answer["Cache-Control"] == "no-store"
    assert answer.content.startswith(b"%PDF-")
    shown = "".join(letters_of(answer.content))
    assert set("ąłŻΕλКирŁódźάл€") <= set(shown)
    assert session.token not in answer.content.decode("latin-1")


def letters_of(pdf: bytes) -> list[str]:
    """The characters that the PDF's fonts say they stand for (ToUnicode)."""
    found = []
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        if b"beginbfchar" in packed:
            for target in re.findall(rb"<[0-9A-Fa-f]+> <([0-9A-Fa-f]+)>", packed):
                found.append(bytes.fromhex(target.decode()).decode("utf-16-be"))
    return found


def test_a_receipt_is_nobody_elses(world: World) -> None:
    session = sold(world)
    for path in ("receipt/", "receipt.pdf", "done.ics"):
        assert Client().get(f"/session/{session.reference}/{path}").status_code == 404


def test_a_receipt_opened_twice_has_one_number_and_one_date(world: World) -> None:
    session = sold(world)
    first = words(Client().get(f"/session/{session.token}/receipt/"))
    world.manual.set(world.now + timedelta(days=1))
    assert words(Client().get(f"/session/{session.token}/receipt/")) == first
    assert clock.now() > Receipt.objects.get().issued_at
