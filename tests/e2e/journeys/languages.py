"""Six languages by what the browser asks for, and by the switch on the page; amounts and times as each writes them."""

from __future__ import annotations

from django.conf import settings

from tests.e2e.catalogue import CAPTURED, code_of, ended, ran, refund_failed
from tests.e2e.phone import plain
from tests.e2e.registry import journey
from tests.e2e.scene import Scene

PRICE = {"en": "€3.60", "de": "3,60 €", "fr": "3,60 €", "it": "3,60 €", "es": "3,60 €", "nl": "€ 3,60"}


@journey("languages", "each of the six languages, by the browser's wish and by the switch", lane="look")
def languages(scene: Scene) -> None:
    site = scene.site
    pages = (
        (site.staged("running", pay=CAPTURED, **ran(24)), "%(price)s paid."),
        (site.staged("completed", pay={**CAPTURED, "charge_minor": 360}, **ended(60)), "%(price)s paid for %(time)s."),
        (code_of(site.shown(online=False)), "Nothing was charged."),
        (refund_failed(site), "We still owe you %(back)s"),
    )
    for language in PRICE:
        phone = scene.phone(language=f"{language}-CH")
        for path, sentence in pages:
            phone.open(path)
            said = phone.page.locator("html").get_attribute("lang")
            scene.expect(said == language, f"{path} is in {said} for a phone that speaks {language}")
            phone.reads(_spoken(language, sentence))
            phone.look(f"{path} in {language}")
        scene.close()


@journey("switch", "from every language to the next by the switch on the page, without JavaScript too", lane="look")
def switch(scene: Scene) -> None:
    phone, path = scene.phone(scripts=False), code_of(scene.site.shown(online=False))
    phone.open(path)
    names = dict(settings.LANGUAGES)
    for language in ("de", "fr", "it", "es", "nl", "en"):
        phone.page.locator(".lang summary").click()
        phone.tap(names[language])
        phone.page.locator(f"html[lang={language}]").wait_for(state="attached")
        phone.reads(_spoken(language, "Nothing was charged."))


def _spoken(language: str, sentence: str) -> str:
    """The sentence in the catalogue's words, with the price as that language writes it."""
    from django.utils.translation import gettext, override

    from sessions_app.guest import words

    with override(language):
        known = {"price": PRICE[language], "time": words.span(3600), "back": words.money(144, "eur")}
        return plain(gettext(sentence) % known)
