"""The operator's looks on the guest pages: colour, logo, and a line above and below. One way to save them."""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from PIL import Image, ImageOps, UnidentifiedImageError

from hygate import audit
from hygate.models import SiteLogo, SiteSettings

MOST_BYTES = 200_000
MOST_PIXELS = 16_000_000
"""A small file can claim a huge picture; its size stands in the head of the file and is looked at first."""
FITS_IN = (480, 160)
"""Twice the size at which the pages show it, for sharp screens."""
TOO_MANY = "The picture has too many pixels; make it smaller."
FORMATS = ("PNG", "JPEG", "WEBP")


class NoLogo(ValueError):
    """The file cannot be a logo; the text is a sentence for people."""


@dataclass(frozen=True)
class Logo:
    """A picture as it will be served: WebP, drawn anew, so that nothing of the file that was sent is passed on."""

    image: bytes
    width: int
    height: int

    @property
    def name(self) -> str:
        return hashlib.sha256(self.image).hexdigest()[:12]


def read_logo(data: bytes) -> Logo:
    """Check ``data`` and draw it anew; raises ``NoLogo``."""
    if len(data) > MOST_BYTES:
        raise NoLogo(f"The file is too heavy: at most {MOST_BYTES // 1000} kB.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as found:
            if found.width * found.height > MOST_PIXELS:
                raise NoLogo(TOO_MANY)
            drawn = ImageOps.exif_transpose(found).convert("RGBA")
    except NoLogo:
        raise
    except UnidentifiedImageError:
        raise NoLogo("This is no PNG, JPEG or WebP picture.") from None
    except Image.DecompressionBombError:
        raise NoLogo(TOO_MANY) from None
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        raise NoLogo("The picture is damaged.") from None
    drawn.thumbnail(FITS_IN)
    file = io.BytesIO()
    drawn.save(file, "WEBP", quality=90, method=6)
    return Logo(file.getvalue(), drawn.width, drawn.height)


def save(columns: dict[str, Any], *, logo: Logo | None = None, drop_logo: bool = False, by: str) -> list[str]:
    """Write what differs, with a new ``logo`` or without any, and answer the names of what changed."""
    if logo is not None:
        columns = columns | {"logo": logo.name, "logo_width": logo.width, "logo_height": logo.height}
    elif drop_logo:
        columns = columns | {"logo": "", "logo_width": 0, "logo_height": 0}
    with transaction.atomic():
        SiteSettings.objects.get_or_create(pk=1)
        site = SiteSettings.objects.select_for_update().get(pk=1)
        news = {name: value for name, value in columns.items() if getattr(site, name) != value}
        if not news:
            return []
        SiteSettings.objects.filter(pk=1).update(**news)
        if "logo" in news:
            _keep(logo)
        audit.write("branding_edited", actor=by, **audit.change(site, news))
    return sorted(news)


def _keep(logo: Logo | None) -> None:
    if logo is None:
        SiteLogo.objects.filter(pk=1).delete()
    else:
        SiteLogo.objects.update_or_create(pk=1, defaults={"name": logo.name, "image": logo.image})


def served(name: str) -> bytes | None:
    """The picture of this name; None when another one is in force."""
    row = SiteLogo.objects.filter(pk=1, name=name).first()
    return None if row is None else bytes(row.image)
