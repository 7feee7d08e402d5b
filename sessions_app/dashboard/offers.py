"""Plans to begin with, as a form: every template with prices that can be typed over, and what was typed read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict

from devices.templates import TEMPLATES, PlanTemplate
from sessions_app.dashboard.forms import PlanForm

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Offer:
    """One plan of a template as the form shows it: its price and the VAT in it can be typed over."""

    field: str
    plan: PlanTemplate
    price: str
    error: str = ""


Offers = list[tuple[str, str, list[Offer]]]
"""Every template with its plans: (key, title, plans)."""


def shown(typed: QueryDict | None, errors: Mapping[str, str] = NOTHING) -> Offers:
    return [
        (key, template.title, [_offer(key, number, plan, typed, errors) for number, plan in enumerate(template.plans)])
        for key, template in TEMPLATES.items()
    ]


def any_wrong(offers: Offers) -> bool:
    return any(offer.error for _, _, some in offers for offer in some)


def _offer(key: str, number: int, plan: PlanTemplate, typed: QueryDict | None, errors: Mapping[str, str]) -> Offer:
    field = f"price-{key}-{number}"
    usual = f"{plan.price_minor / 100:.2f}"
    return Offer(field, plan, typed.get(field, usual) if typed else usual, errors.get(field, ""))


def read(typed: QueryDict, wanted: set[str], currency: str) -> tuple[dict[str, tuple[PlanTemplate, ...]], Offers]:
    """The ``wanted`` templates with the prices and the VAT that were typed; and the form's plans with what is wrong.

    A price is read as the form for one plan reads it, in the location's currency.
    """
    plans: dict[str, tuple[PlanTemplate, ...]] = {}
    errors: dict[str, str] = {}
    for key in sorted(wanted & TEMPLATES.keys()):
        made = []
        for number, plan in enumerate(TEMPLATES[key].plans):
            offer = _offer(key, number, plan, typed, NOTHING)
            form = PlanForm(_spelt(plan, offer.price, typed.get("vat", "")), currency=currency)
            if form.is_valid():
                columns = form.columns()
                made.append(replace(plan, price_minor=columns["price_minor"], vat_rate_bp=columns["vat_rate_bp"]))
            else:
                errors[offer.field] = " ".join(str(said) for some in form.errors.values() for said in some)
        plans[key] = tuple(made)
    return plans, shown(typed, errors)


def _spelt(plan: PlanTemplate, price: str, vat: str) -> dict[str, Any]:
    return {
        "name": plan.name,
        "description": plan.description,
        "minutes": plan.minutes,
        "seconds": 0,
        "grace_minutes": plan.grace_minutes,
        "price": price.replace(",", "."),
        "vat": vat.replace(",", "."),
        "refund_unused": "on",
        "active": "on",
    }
