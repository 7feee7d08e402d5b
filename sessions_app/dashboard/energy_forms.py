"""What administrators type about energy: a source of each kind, a site's limits and policy, the proof's Device."""

from __future__ import annotations

from datetime import time
from typing import Any, ClassVar

from django import forms
from django.conf import settings

from devices.energy import proof
from devices.energy.models import EnergySource, SitePower, SourceKind, Supply
from devices.models import Device, Location
from devices.shelly.local import check_local_address
from sessions_app.dashboard.forms import PlainForm, SecretInput

MOST_W = 10_000_000
MOST_WINDOWS = 8
EVERY_DAY = "0123456"
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAYS = [
    (EVERY_DAY, "Every day"),
    ("01234", "Monday to Friday"),
    ("56", "Saturday and Sunday"),
    *((str(number), name) for number, name in enumerate(DAY_NAMES)),
]
KEPT = "Leave it empty to keep what is saved."


class SecretArea(forms.Textarea):
    """Takes a certificate or key and never gives it out again."""

    def __init__(self) -> None:
        super().__init__({"rows": 3, "class": "mono", "autocomplete": "off", "spellcheck": "false"})

    def format_value(self, value: Any) -> None:
        return None


class EnergySourceForm(PlainForm):
    """What every kind has; the kinds add their own. A key goes in and never comes out: empty keeps the saved one."""

    kind: ClassVar[SourceKind]
    secret_names: ClassVar[tuple[str, ...]] = ()
    name = forms.CharField(max_length=60, widget=forms.TextInput(attrs={"autofocus": True}))
    location = forms.ModelChoiceField(Location.objects.all(), empty_label=None)
    active = forms.BooleanField(required=False, initial=True, label="Switched on: Hygate holds the connection")
    bridge_address = forms.CharField(
        max_length=60,
        required=False,
        label="Bridge: Shelly device, IP address",
        help_text="Its virtual components 200 to 204 then show these numbers. Empty: no bridge.",
    )
    bridge_every_s = forms.IntegerField(
        min_value=1, max_value=3600, initial=5, label="Bridge: every, s", help_text="Written by bridge_energy."
    )
    bridge_password = forms.CharField(
        max_length=100,
        required=False,
        label="Bridge: the device's own password",
        widget=SecretInput(),
        help_text="Empty where its local pages ask for none.",
    )
    bridge_names = ("bridge_address", "bridge_every_s", "bridge_password")
    pairs: ClassVar[tuple[tuple[str, ...], ...]] = (("name", "location"), ("bridge_address", "bridge_every_s"))

    def __init__(self, *args: Any, source: EnergySource | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source = source
        own = [name for name in self.fields if name not in EnergySourceForm.base_fields]
        self.order_fields(["name", "location", *own, "active", *self.bridge_names])
        if source is not None:
            for name in self.secret_names:
                self.fields[name].required = False
                self.fields[name].help_text = KEPT
            self.fields["bridge_password"].help_text = KEPT

    @classmethod
    def values_of(cls, source: EnergySource) -> dict[str, Any]:
        """What is shown of a saved source: everything but its secrets."""
        return {name: getattr(source, name) for name in cls.base_fields if hasattr(source, name)}

    def clean_bridge_address(self) -> str:
        typed: str = self.cleaned_data["bridge_address"]
        try:
            return check_local_address(typed, simulated=settings.SIMULATED) if typed else ""
        except ValueError as wrong:
            raise forms.ValidationError(str(wrong)) from wrong

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        others = EnergySource.objects.filter(name=data.get("name"), location=data.get("location"))
        if (others.exclude(pk=self.source.pk) if self.source else others).exists():
            self.add_error("name", "Another source of this location has this name.")
        return data

    def columns(self) -> dict[str, Any]:
        """What goes into columns as it is."""
        hidden = {*self.secret_names, "bridge_password"}
        return {name: value for name, value in self.cleaned_data.items() if name not in hidden}

    def secrets(self) -> dict[str, str]:
        return {name: self.cleaned_data.get(name, "").strip() for name in (*self.secret_names, "bridge_password")}


class ModbusForm(EnergySourceForm):
    kind = SourceKind.SIGENERGY_MODBUS
    address = forms.CharField(max_length=200, label="Host", help_text="The plant's IP address or name in your network.")
    port = forms.IntegerField(min_value=1, max_value=65535, initial=502)
    unit = forms.IntegerField(
        min_value=1, max_value=247, initial=247, help_text="247 is the plant in every installation."
    )
    load_has_own_meter = forms.BooleanField(
        required=False, label="The load has a meter of its own, so that its agreement proves the sign"
    )
    pairs = (*EnergySourceForm.pairs, ("port", "unit"))


class CloudForm(EnergySourceForm):
    """Shows, does not admit by itself."""

    cloud_admits = forms.BooleanField(
        required=False, label="Admit on 5-minute data: sell high power on numbers that are minutes old"
    )
    cloud_extra_margin_w = forms.IntegerField(
        min_value=0,
        max_value=MOST_W,
        initial=2000,
        label="with an extra margin of, W",
        help_text="Kept free for what may have changed since. Modbus or MQTT need none.",
    )


class OpenApiForm(CloudForm):
    kind = SourceKind.SIGENERGY_OPENAPI
    secret_names = ("app_key", "app_secret")
    address = forms.CharField(max_length=200, label="Region", initial="eu", help_text="eu, apac, aus, us, cn or jp.")
    system_id = forms.CharField(max_length=80, label="System ID", help_text="It stands in mySigen.")
    app_key = forms.CharField(max_length=200, label="App key", widget=SecretInput())
    app_secret = forms.CharField(
        max_length=200, label="App secret", widget=SecretInput(), help_text="Stored encrypted, never shown again."
    )
    pairs = (*EnergySourceForm.pairs, ("address", "system_id"), ("app_key", "app_secret"))


class MqttForm(EnergySourceForm):
    kind = SourceKind.SIGENERGY_MQTT
    secret_names = ("app_key", "app_secret", "ca_pem", "certificate_pem", "key_pem", "broker")
    address = OpenApiForm.base_fields["address"]
    system_id = OpenApiForm.base_fields["system_id"]
    app_key = OpenApiForm.base_fields["app_key"]
    app_secret = OpenApiForm.base_fields["app_secret"]
    ca_pem = forms.CharField(max_length=20_000, label="Authority (ca.pem)", widget=SecretArea())
    certificate_pem = forms.CharField(max_length=20_000, label="Client certificate (client.pem)", widget=SecretArea())
    key_pem = forms.CharField(
        max_length=20_000,
        label="Client key (client.key)",
        widget=SecretArea(),
        help_text="The three files from the developer portal. Stored encrypted, never shown again.",
    )
    broker = forms.CharField(max_length=200, required=False, label="Broker", help_text="Empty: the one of the region.")
    pairs = OpenApiForm.pairs


class RenogyForm(CloudForm):
    kind = SourceKind.RENOGY
    secret_names = ("access_key", "secret_key")
    access_key = forms.CharField(max_length=200, label="Access key", widget=SecretInput())
    secret_key = forms.CharField(
        max_length=200, label="Secret key", widget=SecretInput(), help_text="Stored encrypted, never shown again."
    )
    system_id = forms.CharField(
        max_length=80, required=False, label="Devices that count", help_text="Their IDs, with commas; empty: all."
    )
    address = forms.CharField(
        max_length=200, required=False, label="Server", help_text="Empty: Renogy's own, openapi.renogy.com."
    )
    pairs = (*EnergySourceForm.pairs, ("access_key", "secret_key"), ("system_id", "address"))


FORMS: dict[str, type[EnergySourceForm]] = {
    form.kind.value: form for form in (ModbusForm, MqttForm, OpenApiForm, RenogyForm)
}


class ProofForm(PlainForm):
    device = forms.ModelChoiceField(Device.objects.none(), empty_label=None)

    def __init__(self, *args: Any, source: EnergySource, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Device.objects.filter(location=source.location_id, rated_w__gte=proof.LEAST_W).order_by("-rated_w")
        field = self.fields["device"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = rows
        field.label_from_instance = lambda one: f"{one.name} ({one.rated_w} W)"  # type: ignore[method-assign,assignment]
        field.help_text = f"At least {proof.LEAST_W} W, free, and with something plugged in that draws its watts."


# -- a site's limits


def _watts(label: str, help_text: str = "", *, required: bool = False) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=0, max_value=MOST_W, required=required, label=f"{label}, W", help_text=help_text
    )


def _percent(label: str, help_text: str, *, required: bool = False) -> forms.IntegerField:
    return forms.IntegerField(min_value=0, max_value=100, required=required, label=f"{label}, %", help_text=help_text)


class SiteForm(PlainForm):
    """Limits and policy of a Location; every number with its unit. Windows are rows, an empty one counts as none."""

    grid_import_w = _watts("Grid import limit", "Contract or main breaker. Empty: what the plant itself states.")
    phases = forms.TypedChoiceField(
        choices=((3, "Three"), (1, "One")), coerce=int, label="Phases", help_text="That feed the site."
    )
    fuse_w = _watts("Fuse of each phase", "For example 35 A × 230 V = 8,050 W. Empty: equal shares of the limit.")
    inverter_w = _watts("Inverter limit", "All inverters together. Empty: what the plant states.")
    reserve_soc_pct = _percent("Battery reserve", "Below this charge the battery counts for nothing.", required=True)
    margin_w = _watts("Margin at admission", "Kept free of the whole and of each phase.", required=True)
    shed_margin_w = _watts(
        "Margin while running", "Smaller, so that what just began is not paused at once.", required=True
    )
    max_age_s = forms.IntegerField(
        min_value=1,
        max_value=3600,
        label="Longest age of a reading, s",
        help_text="10 for Modbus; twice the period for MQTT. Older: no headroom.",
    )
    stand_alone = forms.BooleanField(required=False, label="Stand-alone site: there is no grid at all")
    supply = forms.ChoiceField(choices=Supply.choices, label="High power may be fed")
    import_cap_w = _watts("Never above an import of", "For the policy of an import of its own.", required=True)
    battery_may_help = forms.BooleanField(required=False, label="The battery may help, down to its reserve")
    min_soc_pct = _percent("Only while the battery is above", "Empty: whatever its charge.")
    min_surplus_w = _watts("Only with a solar surplus of", "For one minute. Empty: no such rule.")
    most_per_pass = forms.IntegerField(
        min_value=1, max_value=100, label="Pause at most, at a time", help_text="Sessions; then Hygate looks again."
    )
    least_running = forms.IntegerField(
        min_value=0, max_value=1000, label="Always leave running", help_text="Sessions that are never paused."
    )
    shed_when_blind = forms.BooleanField(
        required=False, label="Pause what may be paused while no reading can be trusted"
    )
    pairs = (
        ("grid_import_w", "phases"),
        ("fuse_w", "inverter_w"),
        ("margin_w", "shed_margin_w"),
        ("reserve_soc_pct", "max_age_s"),
        ("supply", "import_cap_w"),
        ("min_soc_pct", "min_surplus_w"),
        ("most_per_pass", "least_running"),
        *((f"from_{row}", f"to_{row}", f"days_{row}") for row in range(MOST_WINDOWS)),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = self.initial.get("windows", [])
        self.window_rows = min(MOST_WINDOWS, len(stored) + 2)
        for row in range(self.window_rows):
            self._add_window(row, stored[row] if row < len(stored) else {})

    def _add_window(self, row: int, window: dict[str, Any]) -> None:
        days = "".join(map(str, window.get("weekdays", range(7)))) if window else EVERY_DAY
        choices = DAYS if days in dict(DAYS) else [*DAYS, (days, _day_words(days))]
        clock_input = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
        for name, label in (("from", "Only from"), ("to", "until")):
            self.fields[f"{name}_{row}"] = forms.TimeField(required=False, label=label, widget=clock_input)
        self.fields[f"days_{row}"] = forms.ChoiceField(choices=choices, required=False, label="on")
        self.initial = {
            **self.initial,
            f"from_{row}": window.get("start"),
            f"to_{row}": window.get("end"),
            f"days_{row}": days,
        }

    @staticmethod
    def values_of(power: SitePower) -> dict[str, Any]:
        return {name: getattr(power, name) for name in (*SiteForm.base_fields, "windows")}

    def parts(self) -> list[tuple[str, list[list[forms.BoundField]]]]:
        """The lines under their headings."""
        heads = {
            "grid_import_w": "Limits",
            "supply": "Policy",
            "from_0": "Times of day, by the site's own clock; no line: always",
            "most_per_pass": "When too much is drawn",
        }
        found: list[tuple[str, list[list[forms.BoundField]]]] = []
        self.order_fields([name for name in self.fields if name not in SHEDDING] + list(SHEDDING))
        for line in self.rows():
            if line[0].name in heads:
                found.append((heads[line[0].name], []))
            found[-1][1].append(line)
        return found

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("shed_margin_w", 0) > data.get("margin_w", MOST_W):
            self.add_error("shed_margin_w", "At most the margin at admission.")
        if data.get("supply") == Supply.CAPPED and data.get("import_cap_w") is None:
            self.add_error("import_cap_w", "Say how much may be imported.")
        for row in range(self.window_rows):
            if (data.get(f"from_{row}") is None) != (data.get(f"to_{row}") is None):
                self.add_error(f"to_{row}", "A time of day needs its beginning and its end.")
        return data

    def columns(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {name: data[name] for name in SiteForm.base_fields} | {"windows": self._windows()}

    def _windows(self) -> list[dict[str, Any]]:
        """As ``site.window_of`` reads them."""
        data, found = self.cleaned_data, []
        for row in range(self.window_rows):
            begins: time | None = data[f"from_{row}"]
            if begins is not None:
                days = [int(day) for day in data[f"days_{row}"] or EVERY_DAY]
                found.append({"start": f"{begins:%H:%M}", "end": f"{data[f'to_{row}']:%H:%M}", "weekdays": days})
        return found


SHEDDING = ("most_per_pass", "least_running", "shed_when_blind")


def _day_words(days: str) -> str:
    return ", ".join(DAY_NAMES[int(day)][:3] for day in days)
