"""Labels to print: which devices, on which sheet, beginning behind the places that are used up already."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import translation
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from devices.labels import MOST, SHEETS, Color, Label, Words, pdf
from devices.models import DeviceCode, Location
from hygate.models import SiteSettings
from hygate.roles import staff_only
from sessions_app.dashboard import frame
from sessions_app.dashboard.spelling import natural
from sessions_app.guest import brand, words

HERE = "devices"
FIRST_SHEET = "a4-8"
LEAST_CONTRAST = 3.0
"""Of a coloured band against the paper; a paler colour would leave the company's name on nothing."""
INK: Color = (21, 25, 29)
WHITE_PAPER = 1.0


@require_safe
@staff_only
def labels(request: HttpRequest) -> HttpResponse:
    """All devices, to be picked; a link may bring one, or all of a location, picked already."""
    codes = _codes()
    device, place = request.GET.get("device", ""), request.GET.get("location", "")
    picked = {code.pk for code in codes if device in ("", str(code.device_id)) and place in ("", str(_place(code)))}
    groups: dict[Location, list[tuple[DeviceCode, str, bool]]] = {}
    for code in codes:
        row = (code, words.label(code.code), code.pk in picked)
        groups.setdefault(code.device.location, []).append(row)
    context = {"groups": groups.items(), "sheets": SHEETS.items(), "most": MOST, "count": len(codes)}
    context |= {"chosen": FIRST_SHEET, "languages": settings.LANGUAGES}
    return frame.page(request, "labels.html", context, here=HERE)


@require_safe
@staff_only
def labels_pdf(request: HttpRequest) -> HttpResponse:
    """The file; a choice that makes no sheet leads back with a sentence."""
    wanted = set(request.GET.getlist("pick"))
    codes = [code for code in _codes() if str(code.device_id) in wanted]
    sheet = SHEETS.get(request.GET.get("sheet", FIRST_SHEET), SHEETS[FIRST_SHEET])
    typed = request.GET.get("skip", "") or "0"
    skip = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 4 else -1
    if sheet.places == 1:
        skip = 0
    problem = "" if codes else "Pick at least one device."
    problem = problem or ("" if len(codes) <= MOST else f"At most {MOST} labels at once: print the locations in turn.")
    if not problem and not 0 <= skip < sheet.places:
        problem = f"This sheet has {sheet.places} labels: at most {sheet.places - 1} of them can be used up."
    if problem:
        return frame.refused(request, reverse("dashboard:labels"), problem)
    site = SiteSettings.current()
    language = request.GET.get("language", "")
    with translation.override(language if language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE):
        body = pdf([label_of(code, site) for code in codes], words_of(site), sheet, skip=skip)
    name = slugify(codes[0].device.name if len(codes) == 1 else site.company) or "hygate"
    headers = {"Content-Disposition": f'attachment; filename="labels-{name}.pdf"'}
    return HttpResponse(body, content_type="application/pdf", headers=headers)


def _codes() -> list[DeviceCode]:
    """The code that each device has now, in natural order."""
    rows = DeviceCode.objects.filter(retired_at=None).select_related("device__location")
    return sorted(rows, key=lambda code: (natural(code.device.location.name), _place(code), natural(code.device.name)))


def _place(code: DeviceCode) -> int:
    return int(code.device.location_id)


def label_of(code: DeviceCode, site: SiteSettings) -> Label:
    device = code.device
    return Label(
        name=device.name,
        place=device.place or device.location.name,
        code=words.label(code.code),
        url=f"{settings.BASE_URL}/d/{code.code}/",
        domain=urlsplit(settings.BASE_URL).netloc,
        contact=device.location.contact_phone or site.contact_phone or site.contact_email,
    )


def words_of(site: SiteSettings) -> Words:
    """The operator's colour where the band stands out on paper, our ink where it would not."""
    band = site.brand_color.lower() if _stands_out(site.brand_color) else ""
    return Words(
        company=site.company,
        scan=words.scan_me(),
        compare=words.compare_me(),
        band=_rgb(band) if band else INK,
        on_band=_rgb(brand.text_on(band)) if band else (255, 255, 255),
    )


def _stands_out(color: str) -> bool:
    """Whether it differs enough from white paper; the words on it are black or white, whichever reads better."""
    return (WHITE_PAPER + 0.05) / (brand.luminance(color) + 0.05) >= LEAST_CONTRAST


def _rgb(color: str) -> Color:
    """``#rgb`` or ``#rrggbb`` as three numbers up to 255."""
    digits = color.removeprefix("#")
    whole = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    return int(whole[0:2], 16), int(whole[2:4], 16), int(whole[4:6], 16)
