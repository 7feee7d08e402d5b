"""The product's own style sheets, scripts and icons, sent gzipped: a third of their bytes.

WhiteNoise sends the compressed file that lies beside a file, as a collecting step would leave it there. Nothing is
collected here (see the settings): whichever process comes first puts both into the folder of what Hygate writes.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from whitenoise.compress import Compressor
from whitenoise.middleware import WhiteNoiseMiddleware

log = logging.getLogger(__name__)
OURS = "hygate/"


class Statics(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Where nothing can be written, everything is sent as it is."""

    def get_static_file(self, path: str, url: str, stat_cache: Any = None) -> Any:
        if url.startswith(f"{self.static_prefix}{OURS}") and COMPRESSOR.should_compress(path):
            try:
                return super().get_static_file(str(beside_its_compressed(Path(path))), url)
            except OSError as error:
                log.warning("%s is sent uncompressed: %s", url, error)
        return super().get_static_file(path, url, stat_cache)


COMPRESSOR = Compressor(quiet=True)


def beside_its_compressed(path: Path) -> Path:
    """A copy of the file, in a folder named after its contents: no process ever meets one that is half written."""
    place = settings.VAR_DIR / "static" / hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=place.parent))
        COMPRESSOR.compress(str(shutil.copy2(path, made / path.name)))
        try:
            made.rename(place)
        except OSError:
            shutil.rmtree(made)
            if not place.exists():  # no other process was faster
                raise
    return place / path.name
