"""Settings → General: the company, what an operator may refund, and Shelly on or off."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.core.validators import URLValidator
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
from sessions_app.dashboard.spelling import amount
from sessions_app.models import DeviceSession
from sessions_app.states import ACTIVE

HERE = "settings"
MOST_REFUND_MINOR = 1_000_000


class WebAddress(forms.CharField):
    """An address that a guest's browser may be sent to: http or https, and nothing else."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=200, required=False, validators=[URLValidator(schemes=["http", "https"])], **kwargs)
        self.widget.attrs["inputmode"] = "url"


class GeneralForm(PlainForm):
    company = forms.CharField(max_length=80, help_text="Guests see it at the top of every page.")
    contact_phone = forms.CharField(
        max_length=40, required=False, help_text="Where guests can call. A location may have a number of its own."
    )
    contact_email = forms.EmailField(
        required=False, label="E-mail address for guests", help_text="On receipts; replies to our mails go there."
    )
    legal_name = forms.CharField(
        max_length=120, required=False, label="Name on receipts", help_text="Empty: the company's name above."
    )
    vat_number = forms.CharField(max_length=40, required=False, label="VAT number")
    legal_address = forms.CharField(
        max_length=200, required=False, label="Address on receipts", help_text="Street, postcode and place, country."
    )
    terms_url = WebAddress(label="Address of your terms", help_text="Linked at the foot of every guest page.")
    privacy_url = WebAddress(label="Address of your privacy notice")
    refund_limit = forms.DecimalField(
        min_value=0, max_digits=9, label="An operator may refund, for each payment, at most"
    )
    devices_enabled = forms.BooleanField(required=False, label="Shelly is switched on: devices can be bought")
    pairs = (
        ("company", "contact_phone"),
        ("legal_name", "vat_number"),
        ("terms_url", "privacy_url"),
    )

    def __init__(self, *args: Any, currencies: set[str], limit_minor: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.digits = 0 if currencies and currencies <= money.ZERO_DECIMAL else 2
        self.initial["refund_limit"] = Decimal(limit_minor).scaleb(-self.digits)
        self.fields["refund_limit"].help_text = _meaning(limit_minor, sorted(currencies))

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
    site, places = SiteSettings.current(), Location.objects.all()
    form = GeneralForm(
        request.POST or None,
        initial={name: getattr(site, name) for name in GeneralForm.base_fields if name != "refund_limit"},
        currencies={place.currency.lower() for place in places},
        limit_minor=site.refund_limit_minor,
    )
    if form.is_valid():
        return frame.done(request, reverse("dashboard:settings"), save(request, form.columns()))
    context = {
        "form": form,
        "places": places,
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
        audit.write("settings_edited", actor=frame.who(request), **audit.change(site, news))
        if "devices_enabled" in news:
            kind = "shelly_switched_on" if news["devices_enabled"] else "shelly_switched_off"
            audit.write(kind, actor=frame.who(request))
    return "Saved."


def _meaning(limit_minor: int, currencies: Sequence[str]) -> str:
    """One number for all: what it comes to where places differ in their currency."""
    said = [amount(limit_minor, currency) for currency in currencies]
    if len(said) < 2:
        return " ".join([*(f"In {code.upper()}." for code in currencies), "Administrators have no limit."])
    return f"In the payment's own currency: now {', '.join(said[:-1])} or {said[-1]}. Administrators have no limit."
