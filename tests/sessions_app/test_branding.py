"""Branding: what is refused, what guests see of it, and that the preview is made up and saves nothing."""

from __future__ import annotations

import io
import re
import struct
import zlib
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image

from devices.models import Device, DeviceCode, Location, ShellyAccount, UsagePlan
from hygate import branding
from hygate.models import AuditEvent, SiteLogo, SiteSettings
from sessions_app.models import DeviceSession
from tests.sessions_app.test_switched_off import browser

pytestmark = pytest.mark.django_db
LOOKS = {"brand_color": "#0f766e", "header_text": "Open 7 to 22 h", "footer_text": "Ring at the reception\nif in doubt"}


def picture(kind: str = "PNG", size: tuple[int, int] = (600, 200), **how: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "#c02020").save(file, kind, **how)
    return file.getvalue()


def upload(data: bytes, name: str = "logo.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def swollen() -> bytes:
    """A small PNG with megabytes of packed text in it."""
    png = picture()
    text = chunk(b"zTXt", b"words\0\0" + zlib.compress(b"x" * 3_000_000))
    return png[:33] + text + png[33:]


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.fixture
def admin() -> Client:
    return browser("admin@example.com", "administrator")  # type: ignore[arg-type]


@pytest.fixture
def label() -> str:
    account = ShellyAccount.objects.create(name="A", server_url="http://127.0.0.1:9", auth_key="k", status="ok")
    place = Location.objects.create(name="Laundry room")
    device = Device.objects.create(location=place, account=account, shelly_id="aa", name="Washer 1", online=True)
    UsagePlan.objects.create(device=device, name="Short", duration_s=1800, price_minor=220)
    return f"/d/{DeviceCode.objects.create(device=device, code='WASH1').code}/"


def send(client: Client, **more: Any) -> Any:
    return client.post(reverse("dashboard:branding"), LOOKS | more)


def test_guests_see_colour_logo_header_and_footer(admin: Client, label: str) -> None:
    assert send(admin, logo=upload(picture())).status_code == 303
    page = unescape(Client().get(label).content.decode())
    assert 'href="/brand-0f766e.css"' in page
    assert "Open 7 to 22 h" in page
    assert "Ring at the reception<br>if in doubt" in page
    logo = re.search(r'<img src="(/logo-[0-9a-f]{12}\.webp)" width="480" height="160" alt="Hygate">', page)
    assert logo is not None
    served = Client().get(logo[1])
    assert (served["Content-Type"], served.content[8:12]) == ("image/webp", b"WEBP")
    assert "immutable" in served["Cache-Control"]


def test_a_logo_that_was_replaced_is_served_no_more(admin: Client) -> None:
    send(admin, logo=upload(picture()))
    old = SiteSettings.current().logo
    send(admin, logo=upload(picture(size=(100, 100))))
    assert SiteSettings.current().logo != old
    assert Client().get(f"/logo-{old}.webp").status_code == 404
    assert SiteLogo.objects.count() == 1


def test_a_logo_can_be_taken_away(admin: Client, label: str) -> None:
    send(admin, logo=upload(picture()))
    send(admin)
    assert SiteSettings.current().logo, "saving something else leaves the logo alone"
    send(admin, drop_logo="on")
    assert SiteLogo.objects.count() == 0
    assert "<img" not in Client().get(label).content.decode()


def test_nothing_of_the_file_that_was_sent_is_passed_on() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    sent = picture("JPEG", exif=exif) + b"<script>alert(1)</script>"
    assert b"taken at home" in sent
    drawn = branding.read_logo(sent)
    assert b"taken at home" not in drawn.image
    assert b"<script>" not in drawn.image
    assert (drawn.width, drawn.height) == (480, 160)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"x" * 200_001, "at most 200 kB"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "no PNG, JPEG or WebP"),
        (b"GIF89a" + b"\0" * 40, "no PNG, JPEG or WebP"),
        (b"just words", "no PNG, JPEG or WebP"),
        (picture()[:200], "damaged"),
        (claims(30_000, 30_000), "make it smaller"),
        (claims(2_000, 2_000), "damaged"),
        (swollen(), "damaged"),
    ],
    ids=["heavy", "svg", "gif", "words", "cut off", "claims to be huge", "empty", "too much text in it"],
)
def test_what_is_no_logo_is_refused_with_a_sentence(admin: Client, data: bytes, sentence: str) -> None:
    answer = send(admin, logo=upload(data))
    assert answer.status_code == 422
    assert sentence in unescape(answer.content.decode())
    assert (SiteSettings.current().logo, SiteLogo.objects.count()) == ("", 0)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("brand_color", "red; }", "Write the colour as #153e63."),
        ("brand_color", "#fff", "Write the colour as #153e63."),
        ("brand_color", "#153e63\n}", "Write the colour as #153e63."),
        ("brand_color", "", "This field is required."),
        ("header_text", "x" * 5000, "at most 120 characters"),
        ("footer_text", "x" * 5000, "at most 300 characters"),
        ("footer_text", "1\n2\n3\n4\n5", "At most 4 lines."),
    ],
)
def test_words_and_colours_that_make_no_sense_are_refused(admin: Client, field: str, value: str, sentence: str) -> None:
    answer = send(admin, **{field: value})
    assert answer.status_code == 422
    assert sentence in unescape(answer.content.decode())
    assert SiteSettings.current().header_text == ""
    assert not AuditEvent.objects.filter(kind="branding_edited").exists()


def test_what_was_changed_is_audited_once_with_before_and_after(admin: Client) -> None:
    send(admin)
    send(admin)
    told = AuditEvent.objects.get(kind="branding_edited").data
    assert told["changed"] == ["brand_color", "footer_text", "header_text"]
    assert (told["before"]["brand_color"], told["after"]["brand_color"]) == ("#153e63", "#0f766e")


def test_the_operators_words_cannot_write_html(admin: Client, label: str) -> None:
    send(admin, header_text="<script>alert(1)</script>", footer_text="<img src=x>")
    page = Client().get(label).content.decode()
    assert "<script>alert" not in page
    assert "<img" not in page


# -- contrast


@pytest.mark.parametrize(("color", "shown"), [("#153e63", "stands out"), ("#ffe08a", "pale")])
def test_the_contrast_of_the_colour_is_shown(admin: Client, color: str, shown: str) -> None:
    SiteSettings.objects.update_or_create(pk=1, defaults={"brand_color": color})
    assert f">{shown}</span>" in admin.get(reverse("dashboard:branding")).content.decode()


@pytest.mark.parametrize("color", ["#777777", "#767676", "#ffffff", "#000000", "#ff0000", "#00ff00", "#757500"])
def test_words_on_any_colour_reach_four_and_a_half_to_one(admin: Client, color: str) -> None:
    page = admin.get(reverse("dashboard:branding_contrast"), {"brand_color": color}).content.decode()
    said = re.search(r"<dt>Words on it</dt><dd>([\d.]+) : 1", page)
    assert said is not None
    assert float(said[1]) >= 4.5
    assert f'fill="{color}"' in page


def test_the_contrast_of_nonsense_is_that_of_the_saved_colour(admin: Client) -> None:
    page = admin.get(reverse("dashboard:branding_contrast"), {"brand_color": '"><script>'}).content.decode()
    assert 'fill="#153e63"' in page
    assert "<script>" not in page


# -- the preview


def test_the_preview_shows_what_is_typed_and_saves_nothing(admin: Client) -> None:
    typed = LOOKS | {"logo": upload(picture())}
    page = unescape(admin.post(reverse("dashboard:branding_preview"), typed).content.decode())
    assert "/brand-0f766e.css" in page
    assert "Open 7 to 22 h" in page
    assert 'src="data:image/webp;base64,' in page
    assert "<script" not in page
    assert (SiteSettings.current().header_text, SiteLogo.objects.count()) == ("", 0)
    assert DeviceSession.objects.count() == Device.objects.count() == AuditEvent.objects.count() == 0


def test_the_preview_leaves_out_what_makes_no_sense(admin: Client) -> None:
    typed = LOOKS | {"brand_color": "red; }", "logo": upload(b"no picture")}
    page = admin.post(reverse("dashboard:branding_preview"), typed).content.decode()
    assert "/brand-153e63.css" in page
    assert "Open 7 to 22 h" in page
    assert "<img" not in page


def test_only_the_preview_may_be_framed_and_only_by_ourselves(admin: Client) -> None:
    preview = admin.get(reverse("dashboard:branding_preview"))
    assert "frame-ancestors 'self'" in preview["Content-Security-Policy"]
    assert preview["X-Frame-Options"] == "SAMEORIGIN"
    settings = admin.get(reverse("dashboard:branding"))
    assert "frame-src 'self'" in settings["Content-Security-Policy"]
    for page in (settings, admin.get(reverse("dashboard:security"))):
        assert "frame-ancestors 'none'" in page["Content-Security-Policy"]
        assert page["X-Frame-Options"] == "DENY"
    assert "frame-src" not in admin.get(reverse("dashboard:security"))["Content-Security-Policy"]
