"""Settings → Branding: colour, logo, a line above and one below, and the guest's page as it will look."""

from __future__ import annotations

import base64
from typing import Any

from csp.constants import SELF
from csp.decorators import csp_replace, csp_update
from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from devices.models import Device, DeviceKind, Location, UsagePlan
from devices.templates import TEMPLATES
from hygate import branding, clock
from hygate.branding import Logo, NoLogo
from hygate.models import SiteSettings
from hygate.roles import administrator_only
from sessions_app.dashboard import frame
from sessions_app.dashboard.forms import PlainForm
from sessions_app.guest import brand, scan
from sessions_app.guest.scan import Scanned
from sessions_app.guest.shapes import ScanPage

HERE = "branding"
LEAST_CONTRAST = 3.0
"""What WCAG asks between a button and the page around it (1.4.11). On dark pages the stylesheet lightens the colour."""
LIGHT_PAGE = "#ffffff"
MOST_LINES = 4


class BrandingForm(PlainForm):
    brand_color = forms.RegexField(
        r"^#[0-9a-fA-F]{6}$",
        label="Colour",
        error_messages={"invalid": "Write the colour as #153e63."},
        widget=forms.TextInput(attrs={"type": "color"}),
    )
    logo = forms.FileField(
        required=False,
        help_text=f"PNG, JPEG or WebP, at most {branding.MOST_BYTES // 1000} kB. It stands in the place of the name.",
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
    )
    drop_logo = forms.BooleanField(required=False, label="Without a logo")
    header_text = forms.CharField(
        max_length=120, required=False, label="Line at the top", help_text="For example: Laundry open 7 to 22 h."
    )
    footer_text = forms.CharField(
        max_length=300,
        required=False,
        label="Text at the foot",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="In your own language: it is not translated.",
    )

    def __init__(self, *args: Any, site: SiteSettings, **kwargs: Any) -> None:
        initial = {name: getattr(site, name) for name in ("header_text", "footer_text")}
        super().__init__(*args, initial=initial | {"brand_color": f"#{site.brand_hex}"}, **kwargs)
        if not site.logo:
            del self.fields["drop_logo"]
        request = {"hx-get": reverse("dashboard:branding_contrast"), "hx-target": "#contrast"}
        self.fields["brand_color"].widget.attrs |= request | {"hx-trigger": "input changed delay:200ms"}

    def clean_brand_color(self) -> str:
        return str(self.cleaned_data["brand_color"]).lower()

    def clean_logo(self) -> Logo | None:
        sent: UploadedFile[bytes] | None = self.cleaned_data["logo"]
        if sent is None:
            return None
        try:
            return branding.read_logo(sent.read(branding.MOST_BYTES + 1))
        except NoLogo as refusal:
            raise forms.ValidationError(str(refusal)) from refusal

    def clean_footer_text(self) -> str:
        text = "\n".join(line.strip() for line in str(self.cleaned_data["footer_text"]).splitlines())
        if text.count("\n") >= MOST_LINES:
            raise forms.ValidationError(f"At most {MOST_LINES} lines.")
        return text

    def columns(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("brand_color", "header_text", "footer_text")}

    def shown_on(self, site: SiteSettings) -> SiteSettings:
        """``site`` as it would be with what is valid of the form; nothing is saved."""
        self.is_valid()
        for name in ("brand_color", "header_text", "footer_text"):
            setattr(site, name, self.cleaned_data.get(name, getattr(site, name)))
        if logo := self.cleaned_data.get("logo"):
            site.logo, site.logo_width, site.logo_height = logo.name, logo.width, logo.height
        elif self.cleaned_data.get("drop_logo"):
            site.logo = ""
        return site


@administrator_only
@csp_update({"frame-src": [SELF]})
def settings(request: HttpRequest) -> HttpResponse:
    site = SiteSettings.current()
    form = BrandingForm(request.POST or None, request.FILES or None, site=site)
    if form.is_valid():
        data = form.cleaned_data
        drop = bool(data.get("drop_logo"))
        news = branding.save(form.columns(), logo=data["logo"], drop_logo=drop, by=frame.who(request))
        said = "Saved. Guests see it from now on." if news else "Nothing was changed."
        return frame.done(request, reverse("dashboard:branding"), said)
    context = {"form": form, **reading(f"#{site.brand_hex}")}
    return frame.page(request, "branding.html", context, here=HERE, status=422 if form.is_bound else 200)


@require_safe
@administrator_only
def contrast(request: HttpRequest) -> HttpResponse:
    """What is told about a colour while it is being chosen; about the saved one where it is none."""
    form = BrandingForm(request.GET, site=SiteSettings.current())
    form.is_valid()
    color = form.cleaned_data.get("brand_color", form.initial["brand_color"])
    return render(request, "dashboard/_contrast.html", reading(color))


def reading(color: str) -> dict[str, Any]:
    """How well ``color`` can be read: words on it, and itself on a white page."""
    words, page = brand.text_on(color), brand.contrast(color, LIGHT_PAGE)
    return {
        "color": color,
        "text_on": words,
        "text_contrast": brand.contrast(color, f"{words}{words[1:]}"),
        "page_contrast": page,
        "least_contrast": LEAST_CONTRAST,
    }


@administrator_only
@csp_replace({"frame-ancestors": [SELF]})
@xframe_options_sameorigin
def preview(request: HttpRequest) -> HttpResponse:
    """A guest's page as saved, or by POST with what is typed. It is made up and sells nothing; nothing is saved."""
    form = BrandingForm(request.POST or None, request.FILES or None, site=SiteSettings.current())
    site = form.shown_on(SiteSettings.current()) if form.is_bound else SiteSettings.current()
    logo: Logo | None = form.cleaned_data.get("logo") if form.is_bound else None
    source = f"data:image/webp;base64,{base64.b64encode(logo.image).decode()}" if logo else ""
    context = {"site": site, "page": _made_up(), "logo_source": source}
    return render(request, "dashboard/preview.html", context)


def _made_up() -> ScanPage:
    """A washing machine at the first location, with the plans of its template."""
    place = Location.objects.first() or Location(name="Laundry room")
    device = Device(name="Washer 1", place="left of the door", kind=DeviceKind.WASHER, location=place)
    plans = [
        UsagePlan(
            pk=number,
            name=plan.name,
            description=plan.description,
            duration_s=plan.duration_s,
            grace_s=plan.grace_s,
            price_minor=plan.price_minor,
        )
        for number, plan in enumerate(TEMPLATES[DeviceKind.WASHER].plans, start=1)
    ]
    return scan.for_sale(Scanned(device=device, code="W17Q4", now=clock.now()), plans)
