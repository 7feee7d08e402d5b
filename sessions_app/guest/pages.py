"""Session page in, words out: which page a session shows now. Pure; the views ask and render."""

from __future__ import annotations

from dataclasses import replace

from sessions_app.guest import extra_time, live, more
from sessions_app.guest.over import over
from sessions_app.guest.shapes import Line, SessionPage, milliseconds
from sessions_app.guest.visit import Visit, version


def session_page(visit: Visit) -> SessionPage:
    page = extra_time.told(visit, live.PAGES.get(visit.session.state, over)(visit))
    return complete(visit, replace(page, links=more.links(visit), ask=more.ask(visit)))


def money_line(visit: Visit) -> Line:
    """What the session's page says first: what happens to the money."""
    page = live.PAGES.get(visit.session.state, over)(visit)
    return page.money or Line(f"{page.headline.rstrip('.')}.", page.answer or "")


def stop_page(visit: Visit) -> SessionPage:
    return complete(visit, live.stop_question(visit))


def complete(visit: Visit, page: SessionPage) -> SessionPage:
    """Add what every page needs. The version covers all that is said, and leaves out what merely counts down."""
    page = replace(
        page,
        name=visit.name,
        place=visit.device.place,
        timezone=visit.timezone,
        title=page.title or page.headline.rstrip("."),
    )
    ring = replace(page.ring, clock="", percent=0) if page.ring else None
    still = tuple(replace(fact, value="") if fact.live else fact for fact in page.facts)
    said = version((visit.session.state, replace(page, ring=ring, facts=still, pace="")))
    return replace(page, version=said, now_ms=milliseconds(visit.now))
