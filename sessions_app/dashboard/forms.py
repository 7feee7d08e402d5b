"""What the staff can type. A form answers with the columns that changed: live columns are never written back."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.conf import settings
from django.db import models

from devices.models import Device, DeviceKind, Phases, ShellyAccount, UsagePlan
from devices.shelly.server_url import check_server_url
from devices.templates import EXTENDS_TO
from hygate import clock
from sessions_app import money
from sessions_app.dashboard.spelling import amount

LONGEST_S = 7 * 86400
LONGEST_GRACE_S = 3600
MOST_MINOR = 10_000_00


class PlainForm(forms.Form):
    """Marks its wrong fields for screen readers and for the stylesheet; asks nothing of the browser's own checks."""

    use_required_attribute = False
    pairs: ClassVar[tuple[tuple[str, ...], ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": ""} | kwargs)

    def full_clean(self) -> None:
        super().full_clean()
        for name in self.fields.keys() & (self._errors or {}).keys():  # type: ignore[attr-defined]
            self.fields[name].widget.attrs["aria-invalid"] = "true"

    def rows(self) -> list[list[forms.BoundField]]:
        """The fields that are seen, in order, those that belong together on one line."""
        mates = {name: pair for pair in self.pairs for name in pair}
        lines = dict.fromkeys(mates.get(field.name, (field.name,)) for field in self.visible_fields())
        return [[self[name] for name in line if name in self.fields] for line in lines]


def changed(row: models.Model, columns: dict[str, Any]) -> dict[str, Any]:
    """Those of ``columns`` that differ from what ``row`` has."""
    return {name: value for name, value in columns.items() if getattr(row, name) != value}


class ReasonForm(PlainForm):
    reason = forms.CharField(
        max_length=200,
        widget=forms.Textarea(attrs={"rows": 3, "autofocus": True}),
        help_text="Kept in the audit log.",
        error_messages={"required": "Say why, in a few words."},
    )


class PlanForm(PlainForm):
    name = forms.CharField(max_length=60, widget=forms.TextInput(attrs={"autofocus": True}))
    description = forms.CharField(max_length=120, required=False)
    minutes = forms.IntegerField(min_value=0, label="Duration, minutes")
    seconds = forms.IntegerField(min_value=0, max_value=59, required=False, label="and seconds")
    grace_minutes = forms.IntegerField(min_value=0, required=False, label="Grace, minutes")
    grace_seconds = forms.IntegerField(min_value=0, max_value=59, required=False, label="and seconds")
    price = forms.DecimalField(min_value=0, max_digits=9)
    vat = forms.DecimalField(min_value=0, max_value=100, decimal_places=2, required=False, label="VAT in it, %")
    refund_unused = forms.BooleanField(required=False, label="Unused minutes are refunded when a guest stops early")
    extendable = forms.BooleanField(
        required=False, label=f"Guests may extend it, to {EXTENDS_TO} times its length in all"
    )
    active = forms.BooleanField(required=False, label="For sale")
    pairs = (("minutes", "seconds"), ("grace_minutes", "grace_seconds"), ("price", "vat"))

    def __init__(self, *args: Any, currency: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency = currency.lower()
        self.digits = 0 if self.currency in money.ZERO_DECIMAL else 2
        self.fields["price"].label = f"Price incl. VAT, {currency.upper()}"

    @staticmethod
    def values_of(plan: UsagePlan, currency: str) -> dict[str, Any]:
        digits = 0 if currency.lower() in money.ZERO_DECIMAL else 2
        return {
            "name": plan.name,
            "description": plan.description,
            "minutes": plan.duration_s // 60,
            "seconds": plan.duration_s % 60,
            "grace_minutes": plan.grace_s // 60,
            "grace_seconds": plan.grace_s % 60,
            "price": Decimal(plan.price_minor).scaleb(-digits),
            "vat": (Decimal(plan.vat_rate_bp) / 100).normalize().__format__("f"),
            "refund_unused": plan.refund_unused,
            "extendable": plan.extendable,
            "active": plan.active,
        }

    def clean_price(self) -> int:
        """The price in minor units: exact, and never below what Stripe can charge."""
        minor = self.cleaned_data["price"].scaleb(self.digits)
        if minor != minor.to_integral_value():
            raise forms.ValidationError(f"{self.currency.upper()} has {self.digits or 'no'} decimal places.")
        least = money.minimum_minor(self.currency)
        if minor < least:
            raise forms.ValidationError(f"Stripe charges at least {amount(least, self.currency)}.")
        if minor > MOST_MINOR:
            raise forms.ValidationError(f"At most {amount(MOST_MINOR, self.currency)}.")
        return int(minor)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if "minutes" in data and "seconds" in data:
            data["duration_s"] = data["minutes"] * 60 + (data["seconds"] or 0)
            if not 1 <= data["duration_s"] <= LONGEST_S:
                self.add_error("minutes", "A plan lasts between one second and seven days.")
        data["grace_s"] = (data.get("grace_minutes") or 0) * 60 + (data.get("grace_seconds") or 0)
        if data["grace_s"] > LONGEST_GRACE_S:
            self.add_error("grace_minutes", "The grace period is at most 60 minutes.")
        return data

    def columns(self) -> dict[str, Any]:
        data = self.cleaned_data
        kept = ("name", "description", "duration_s", "grace_s", "refund_unused", "extendable", "active")
        vat_bp = int((data["vat"] or 0) * 100)
        most_s = EXTENDS_TO * data["duration_s"] if data["extendable"] else None
        money_of = {"price_minor": data["price"], "vat_rate_bp": vat_bp}
        return {name: data[name] for name in kept} | money_of | {"max_total_s": most_s}


class DeviceForm(PlainForm):
    name = forms.CharField(max_length=60, widget=forms.TextInput(attrs={"autofocus": True}))
    place = forms.CharField(max_length=80, required=False, help_text="Where it stands, as a guest would say it.")
    kind = forms.ChoiceField(choices=DeviceKind.choices)
    rated_w = forms.IntegerField(min_value=1, max_value=100_000, required=False, label="Rated power, W")
    active = forms.BooleanField(required=False, label="For sale")
    phases = forms.ChoiceField(
        choices=[("", "not known"), *Phases.choices], required=False, help_text="Found by the active proof as well."
    )
    priority = forms.IntegerField(
        min_value=1, max_value=1000, help_text="A small number is served first and paused last."
    )
    min_on_s = forms.IntegerField(min_value=0, max_value=7200, label="Least time on, s")
    min_off_s = forms.IntegerField(min_value=0, max_value=7200, label="Least time off, s")
    apart_group = forms.CharField(
        max_length=30, required=False, label="Not together with", help_text="Only one Device of a group runs at a time."
    )
    may_pause = forms.BooleanField(required=False, label="May be paused while power is short")
    of_power = ("phases", "priority", "min_on_s", "min_off_s", "apart_group", "may_pause")
    pairs = (("kind", "rated_w"), ("phases", "priority"), ("min_on_s", "min_off_s"))

    def __init__(self, *args: Any, power: bool = True, **kwargs: Any) -> None:
        """``power``: with the fields that energy decides by; they are for administrators."""
        super().__init__(*args, **kwargs)
        for name in () if power else self.of_power:
            del self.fields[name]

    @staticmethod
    def values_of(device: Device) -> dict[str, Any]:
        return {name: getattr(device, name) for name in DeviceForm.base_fields}

    def columns(self) -> dict[str, Any]:
        return dict(self.cleaned_data)


class MaintenanceForm(PlainForm):
    text = forms.CharField(
        max_length=200,
        required=False,
        label="What guests read",
        widget=forms.TextInput(attrs={"autofocus": True}),
        help_text="For example: The drum is being repaired.",
    )
    until = forms.DateTimeField(
        required=False,
        label="Planned end",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
    )

    def __init__(self, *args: Any, timezone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timezone = timezone
        self.fields["until"].help_text = f"{timezone} time. Leave it empty when nobody knows yet."

    def clean_until(self) -> datetime | None:
        """The form speaks the site's time, whatever the server's own zone is."""
        typed: datetime | None = self.cleaned_data["until"]
        if typed is None:
            return None
        until = typed.replace(tzinfo=ZoneInfo(self.timezone))
        if until <= clock.now() and typed.replace(tzinfo=None) != self.initial.get("until"):
            raise forms.ValidationError("This moment is over already.")
        return until


class SecretInput(forms.TextInput):
    """Takes a key and never gives it out again, not even to correct another field.

    No password field: browsers and password managers would fill the person's own password into it, and offer to keep
    the key as one. The stylesheet covers what is typed.
    """

    def __init__(self) -> None:
        covered = {"class": "secret", "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ignored = {"data-1p-ignore": "", "data-bwignore": "", "data-lpignore": "true", "data-form-type": "other"}
        super().__init__(covered | ignored)

    def format_value(self, value: Any) -> None:
        return None


class AccountForm(PlainForm):
    """A Shelly account. The key goes in and never comes out: an empty field keeps the saved one."""

    name = forms.CharField(max_length=60, widget=forms.TextInput(attrs={"autofocus": True}))
    server_url = forms.CharField(
        max_length=200, label="Server", help_text="Shelly app: User settings → Authorization cloud key → Server."
    )
    auth_key = forms.CharField(
        max_length=400,
        label="Auth key",
        widget=SecretInput(),
        help_text="Stored encrypted, never shown again.",
    )

    def __init__(self, *args: Any, account: ShellyAccount | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account = account
        if account is not None:
            self.fields["auth_key"].required = False
            self.fields["auth_key"].help_text = "Leave it empty to keep the saved key."

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = ShellyAccount.objects.filter(name=name)
        if (others.exclude(pk=self.account.pk) if self.account else others).exists():
            raise forms.ValidationError("Another account has this name.")
        return name

    def clean_server_url(self) -> str:
        try:
            return str(check_server_url(self.cleaned_data["server_url"], settings.SHELLY_HOSTS, settings.SIMULATED))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class StripeForm(PlainForm):
    """Stripe's keys. They go in and never come out: an empty field keeps what is in force."""

    key = forms.CharField(
        max_length=300,
        required=False,
        label="Secret or restricted key",
        widget=SecretInput(),
        help_text="Stripe: Developers → API keys. Of the account that holds the running sales. Stored encrypted.",
    )
    webhook_secrets = forms.CharField(
        max_length=1000,
        required=False,
        label="Webhook signing secrets",
        widget=SecretInput(),
        help_text="Stripe: Developers → Webhooks. While one is rolled: the old and the new, with a blank between.",
    )
    take_back = forms.BooleanField(required=False, label="Forget what is saved here and use the environment's")

    def __init__(self, *args: Any, saved: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not saved:
            del self.fields["take_back"]

    def clean_key(self) -> str:
        key: str = self.cleaned_data["key"].strip()
        if not key.isascii() or any(map(str.isspace, key)):
            raise forms.ValidationError("A key is one word of letters, digits and underscores.")
        return key

    def clean_webhook_secrets(self) -> list[str]:
        found: list[str] = self.cleaned_data["webhook_secrets"].split()
        if not all(one.startswith("whsec_") and one.isascii() for one in found):
            raise forms.ValidationError("A signing secret starts with whsec_.")
        return found

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if not self.errors and not any(data.values()):
            raise forms.ValidationError("Type what is to be saved.")
        return data


class LocationForm(PlainForm):
    """A site; who is no administrator may only rename it."""

    name = forms.CharField(max_length=80, widget=forms.TextInput(attrs={"autofocus": True}))
    timezone = forms.CharField(max_length=60, label="Time zone", help_text="For example Europe/Vienna.")
    currency = forms.ChoiceField(choices=[(code, code.upper()) for code in sorted(money.MINIMUM_MINOR)])
    contact_phone = forms.CharField(max_length=40, required=False, label="Phone for guests")
    high_power_w = forms.IntegerField(
        min_value=0,
        max_value=1_000_000,
        label="High power starts above, W",
        help_text="Devices that draw more are sold only while the site has the power to spare.",
    )
    pairs = (("timezone", "currency"),)

    def __init__(self, *args: Any, rename_only: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if rename_only:
            self.fields = {"name": self.fields["name"]}

    def clean_timezone(self) -> str:
        name: str = self.cleaned_data["timezone"]
        if name not in available_timezones():
            raise forms.ValidationError("No such time zone; write it as Europe/Vienna.")
        return name
