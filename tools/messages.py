"""The guests' words in every language: ``make messages`` collects them into ``locale/`` and compiles the catalogues.

1. Every string that goes through gettext in the guests' rooms and templates is collected.
2. Each language's ``django.po`` gets the new ones, empty, and loses those that nobody says any more.
3. ``django.mo`` is compiled from it. What is still to be translated is listed; a test fails until nothing is.

Nothing but Babel is needed. The pseudo-language is made here too, for tests: a guest is never offered it.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_python
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[1]
LOCALE = ROOT / "locale"
LANGUAGES = ("de", "fr", "it", "es", "nl")
"""Every language but English, in which the source is written."""
PSEUDO = "en-xa"
STAFF_ONLY = ROOT / "sessions_app" / "dashboard"
SINGLE = ("_", "gettext", "gettext_lazy", "gettext_noop", "pgettext", "pgettext_lazy")
PLURAL = ("ngettext", "ngettext_lazy", "npgettext", "npgettext_lazy")
ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)
"""The date in every catalogue: a real one would change the files at each run."""
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|%[sd]")
ACCENTS = str.maketrans("aeiouycnszAEIOUYCNSZ", "áéíöüýçñšžÁÉÍÖÜÝÇÑŠŽ")
LONGER_BY = 0.4


# -- collecting


def sources() -> Iterator[Path]:
    """The files in which guests are spoken to."""
    for path in sorted((ROOT / "sessions_app").rglob("*.py")):
        if STAFF_ONLY not in path.parents and "migrations" not in path.parts:
            yield path
    yield from sorted((ROOT / "templates" / "guest").rglob("*.*"))
    yield from sorted((ROOT / "templates").glob("*.html"))


def spoken() -> Catalog:
    """Every message with its plural, in the order of the files, with the files that say it."""
    catalog = Catalog(project="Hygate", creation_date=ALWAYS, revision_date=ALWAYS)
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".py":
            # as Python source; its indentation is that of the markup and means nothing
            text = re.sub(r"(?m)^[ \t]+", "", templatize(text, origin=str(path)))
        place = (str(path.relative_to(ROOT)), 0)
        # its annotations are narrower than what it takes and gives
        found: Any = extract_python(io.BytesIO(text.encode()), (*SINGLE, *PLURAL), [], {})  # type: ignore[arg-type]
        for _line, function, said, _comments in found:
            parts = list(said) if isinstance(said, tuple) else [said]
            context = parts.pop(0) if function.lstrip("n").startswith("p") else None
            ids = parts[: 2 if function in PLURAL else 1]
            if all(isinstance(one, str) and one for one in ids):
                catalog.add(tuple(ids) if function in PLURAL else ids[0], locations=[place], context=context)
    return catalog


# -- catalogues


def po(language: str, folder: Path = LOCALE) -> Path:
    return folder / language.replace("-xa", "_XA") / "LC_MESSAGES" / "django.po"


def read(language: str) -> Catalog:
    """The language's catalogue as it stands; an empty one where there is none yet."""
    path = po(language)
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def merged(language: str, said: Catalog) -> Catalog:
    """The language's translations of ``said``: new messages are empty, none is guessed from a similar one."""
    old, fresh = read(language), Catalog(locale=language, project="Hygate", fuzzy=False)
    for message in said:
        if not message.id:
            continue
        known = old.get(message.id, message.context)
        added = fresh.add(
            message.id, known.string if known else "", locations=message.locations, context=message.context
        )
        if known and known.fuzzy:
            added.flags.add("fuzzy")
    return fresh


def write(catalog: Catalog, path: Path) -> None:
    """The catalogue beside its compiled form."""
    catalog.creation_date = catalog.revision_date = ALWAYS
    catalog.last_translator = catalog.language_team = catalog.msgid_bugs_address = "Hygate"
    catalog.header_comment = "# Hygate, AGPL-3.0-or-later. Written by `make messages`; the translations by hand."
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalog, width=120, include_lineno=False, ignore_obsolete=True)
    translated = Catalog(locale=catalog.locale, creation_date=ALWAYS, revision_date=ALWAYS)
    for message in catalog:
        if message.id and all(_forms(message)) and not message.fuzzy:  # half a plural would be said as nothing at all
            translated.add(message.id, message.string, context=message.context)
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, translated)


# -- judging


def faults(language: str, said: Catalog) -> list[str]:
    """What keeps this language from being whole, a line each: what the test fails on."""
    catalog, found = read(language), []
    for message in said:
        known = catalog.get(message.id, message.context) if message.id else None
        if not message.id:
            continue
        if known is None:
            found.append(f"not in the catalogue (make messages): {message.id!r}")
        elif not all(_forms(known)):
            found.append(f"not translated: {message.id!r}")
        elif known.fuzzy:
            found.append(f"marked fuzzy: {message.id!r}")
        elif not _same_placeholders(known):
            found.append(f"other placeholders: {message.id!r} {known.string!r}")
    if compiled(language) != {
        _key(one): _forms(one) for one in catalog if one.id and all(_forms(one)) and not one.fuzzy
    }:
        found.append("django.mo is not what django.po says (make messages)")
    return found


def compiled(language: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """What Django will read: the messages of ``django.mo`` by their English forms, the header left out."""
    path = po(language).with_suffix(".mo")
    if not path.exists():
        return {}
    with path.open("rb") as file:
        return {_key(message): _forms(message) for message in read_mo(file) if message.id}


def _key(message: Message) -> tuple[str, ...]:
    """Context and English forms: what tells one message from all others."""
    context: str | bytes = message.context or ""  # bytes as Babel's reader of compiled catalogues leaves it
    if isinstance(context, bytes):
        context = context.decode()
    return (context, *(message.id if isinstance(message.id, (tuple, list)) else (message.id,)))


def _forms(message: Message) -> tuple[str, ...]:
    return tuple(map(str, message.string)) if isinstance(message.string, (tuple, list)) else (str(message.string),)


def _same_placeholders(message: Message) -> bool:
    """The same names on both sides; a singular may leave its number out: "one left"."""
    forms = [set(PLACEHOLDER.findall(form)) for form in _forms(message)]
    wanted = set(PLACEHOLDER.findall(_key(message)[-1]))
    return forms[-1] == wanted and all(form <= wanted for form in forms)


# -- the pseudo-language


def pseudo(said: Catalog) -> Catalog:
    """English two fifths longer and with accents: what is cut off, or not translated at all, leaps to the eye."""
    catalog = Catalog(locale="en", project="Hygate", fuzzy=False)
    for message in said:
        if message.id:
            plural = isinstance(message.id, (tuple, list))
            said_longer = tuple(map(longer, message.id)) if plural else longer(str(message.id))
            catalog.add(message.id, said_longer, context=message.context)
    return catalog


def longer(text: str) -> str:
    """``Stop early`` becomes ``Štöp éárlý ~~~~``; placeholders and markup stay."""
    parts = re.split(rf"({PLACEHOLDER.pattern}|<[^>]+>|&\w+;)", text)
    accented = "".join(part if index % 2 else part.translate(ACCENTS) for index, part in enumerate(parts))
    more = max(1, round(len(re.sub(PLACEHOLDER, "", text)) * LONGER_BY))
    padding = " ".join("~" * min(6, more - start) for start in range(0, more, 7))
    return f"{accented} {padding}"


def main() -> int:
    """0 when every language says everything."""
    said = spoken()
    left = 0
    for language in LANGUAGES:
        write(merged(language, said), po(language))
        lines = faults(language, said)
        left += len(lines)
        sys.stdout.write(f"{language}: {len(said)} messages, {len(lines)} to mend\n")
        sys.stdout.writelines(f"  {line}\n" for line in lines)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
