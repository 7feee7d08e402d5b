"""Evidence for a dispute: a PDF with what was bought, what the relay did and what went back, and no guest's link."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from hygate import sealing
from hygate.models import Role, SiteSettings
from sessions_app.dashboard import evidence
from sessions_app.receipts import services
from tests.sessions_app.sales import browser
from tests.world import World


@pytest.fixture
def sold(world: World) -> Any:
    SiteSettings.objects.update_or_create(pk=1, defaults={"company": "Seaside Camping"})
    session = world.buy()
    world.tell(session)
    world.go(60)
    session.refresh_from_db()
    services.number(session, world.now)
    sealing.seal()
    return session.payments.get()


def test_it_tells_the_whole_session(world: World, sold: Any) -> None:
    found = evidence.collected(sold, world.now)
    titles = [step.title for step in found.steps]
    assert any(title.startswith("ON asked, attempt 1") for title in titles)
    assert "OFF confirmed by read-back" in titles
    assert found.receipt == "R-2026-0001"
    assert [one.captured_minor for one in found.orders] == [250]
    assert found.seals is not None
    assert 1 <= found.seals[0] < found.seals[1]
    assert found.seller == "Seaside Camping"


def test_it_is_a_file_for_the_bank_that_opens_nothing(world: World, sold: Any) -> None:
    answer = browser(Role.OPERATOR).get(f"/dashboard/payments/{sold.pk}/evidence/")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
    assert answer["Content-Disposition"] == f'attachment; filename="evidence-{sold.ref}.pdf"'
    assert answer.content.startswith(b"%PDF-")
    assert sold.session.token not in answer.content.decode("latin-1")
    assert "evidence/" in browser(Role.OPERATOR).get(f"/dashboard/payments/{sold.pk}/").content.decode()


def test_a_session_that_nobody_paid_has_evidence_too(world: World) -> None:
    payment = world.hold().payments.get()
    found = evidence.collected(payment, world.now)
    assert (found.receipt, found.orders, found.refunds) == ("", [], [])
    assert evidence.printed(found).startswith(b"%PDF-")


def test_it_is_for_the_staff(world: World, sold: Any) -> None:
    assert Client().get(f"/dashboard/payments/{sold.pk}/evidence/").status_code == 302
