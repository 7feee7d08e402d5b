"""Settings → General: the operator's words and colour, what an operator may refund, and Shelly on or off."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from devices.models import Location
from hygate import audit
from hygate.models import SiteSettings
from hygate.roles import administrator_only
from sessions_app import money
from sessions_app.dashboard import frame
from sessions_app.dashboard.forms import PlainForm, changed
from sessions_app.guest import brand
from sessions_app.models import DeviceSession
from sessions_app.states import ACTIVE

HERE = "settings"
LEAST_CONTRAST = 3.0
"""What WCAG asks between a button and the page around it (1.4.11). On dark pages the stylesheet lightens the colour."""
LIGHT_PAGE = "#ffffff"
MOST_REFUND_MINOR = 1_000_000


class GeneralForm(PlainForm):
    company = forms.CharField(max_length=80, help_text="Guests see it at the top of every page.")
    contact_phone = forms.CharField(
        max_length=40, required=False, help_text="Where guests can call. A location may have a number of its own."
    )
    brand_color = forms.CharField(
        max_length=7, label="Colour of buttons", widget=forms.TextInput(attrs={"type": "color"})
    )
    refund_limit = forms.DecimalField(
        min_value=0, max_digits=9, label="An operator may refund, for each payment, at most"
    )
    devices_enabled = forms.BooleanField(required=False, label="Shelly is switched on: devices can be bought")
    pairs = (("company", "contact_phone"), ("brand_color", "refund_limit"))

    def __init__(self, *args: Any, digits: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.digits = digits

    def clean_brand_color(self) -> str:
        color = str(self.cleaned_data["brand_color"]).lower()
        if not re.fullmatch(r"#[0-9a-f]{6}", color):
            raise forms.ValidationError("Write the colour as #153e63.")
        return color

    def clean_refund_limit(self) -> int:
        minor = self.cleaned_data["refund_limit"].scaleb(self.digits)
        if minor != minor.to_integral_value():
            raise forms.ValidationError(f"At most {self.digits} decimal places.")
        if minor > MOST_REFUND_MINOR:
            raise forms.ValidationError("That is no limit any more; make the person an administrator instead.")
        return int(minor)

    def columns(self) -> dict[str, Any]:
        data = dict(self.cleaned_data)
        return data | {"refund_limit_minor": data.pop("refund_limit")}


@administrator_only
def general(request: HttpRequest) -> HttpResponse:
    """One form, for what it shows is one row."""
    site, digits = SiteSettings.current(), _digits()
    initial = {name: getattr(site, name) for name in ("company", "contact_phone", "brand_color", "devices_enabled")}
    initial["refund_limit"] = Decimal(site.refund_limit_minor).scaleb(-digits)
    form = GeneralForm(request.POST or None, initial=initial, digits=digits)
    if form.is_valid():
        return frame.done(request, reverse("dashboard:settings"), save(request, form.columns()))
    context = {
        "form": form,
        "page_contrast": _ratio(site.brand_color, LIGHT_PAGE),
        "least_contrast": LEAST_CONTRAST,
        "text_on": brand.text_on(site.brand_color),
        "text_contrast": max(_ratio(site.brand_color, other) for other in ("#000000", "#ffffff")),
        "running": DeviceSession.objects.filter(state__in=ACTIVE).count(),
    }
    return frame.page(request, "settings.html", context, here=HERE, status=422 if form.is_bound else 200)


def save(request: HttpRequest, columns: dict[str, Any]) -> str:
    """Write what changed, audit which, and answer what to say. Switching Shelly off or on has an event of its own."""
    with transaction.atomic():
        SiteSettings.objects.get_or_create(pk=1)
        site = SiteSettings.objects.select_for_update().get(pk=1)
        news = changed(site, columns)
        if not news:
            return "Nothing was changed."
        SiteSettings.objects.filter(pk=1).update(**news)
        audit.write("settings_edited", actor=frame.who(request), changed=sorted(news))
        if "devices_enabled" in news:
            kind = "shelly_switched_on" if news["devices_enabled"] else "shelly_switched_off"
            audit.write(kind, actor=frame.who(request))
    return "Saved."


def _ratio(one: str, other: str) -> float:
    """Contrast as WCAG defines it, 1 to 21, cut to one decimal."""
    darker, lighter = sorted((brand.luminance(one), brand.luminance(other)))
    return int((lighter + 0.05) / (darker + 0.05) * 10) / 10


def _digits() -> int:
    """Decimal places that money is typed with: none where every location's currency has none."""
    currencies = {currency.lower() for currency in Location.objects.values_list("currency", flat=True)}
    return 0 if currencies and currencies <= money.ZERO_DECIMAL else 2
