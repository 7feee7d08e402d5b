"""Style sheets and scripts: small on the wire, the same bytes for everyone, and there where nothing can be written."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hygate.statics import beside_its_compressed

SOURCE = Path(__file__).parents[2] / "hygate" / "static" / "hygate"


def sent(name: str, **headers: str) -> Any:
    return Client().get(f"/static/hygate/{name}", headers=headers)


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


@pytest.mark.parametrize("name", ["dashboard.css", "dashboard.js", "guest.css", "icons.svg", "vendor/htmx.min.js"])
def test_a_browser_that_takes_gzip_gets_it_and_another_the_file_itself(name: str) -> None:
    small, whole = sent(name, accept_encoding="gzip, br"), sent(name)
    assert small["Content-Encoding"] == "gzip"
    assert small["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in whole
    told = body(small)
    assert int(small["Content-Length"]) == len(told) < len(body(sent(name))) / 2
    assert gzip.decompress(told) == body(whole) == (SOURCE / name).read_bytes()


def test_what_is_compressed_already_is_left_alone() -> None:
    font = sent("vendor/inter-latin.woff2", accept_encoding="gzip")
    assert "Content-Encoding" not in font
    assert body(font) == (SOURCE / "vendor" / "inter-latin.woff2").read_bytes()


def test_a_changed_file_is_never_sent_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.css"
    file.write_text("a{}" * 500)
    before = beside_its_compressed(file)
    file.write_text("b{}" * 500)
    after = beside_its_compressed(file)
    assert gzip.decompress(before.with_name("a.css.gz").read_bytes()) == b"a{}" * 500
    assert gzip.decompress(after.with_name("a.css.gz").read_bytes()) == b"b{}" * 500
    assert beside_its_compressed(file) == after


def test_where_nothing_can_be_written_files_are_sent_as_they_are(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "static").write_text("in the way")
    settings.VAR_DIR = tmp_path
    answer = sent("dashboard.css", accept_encoding="gzip")
    assert "Content-Encoding" not in answer
    assert body(answer) == (SOURCE / "dashboard.css").read_bytes()
