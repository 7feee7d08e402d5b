"""Sentences and figures that several session pages share: the money first."""

from __future__ import annotations

from django.utils.translation import gettext as _

from sessions_app import money
from sessions_app.guest import words
from sessions_app.guest.shapes import Act, Bar, Fact, Line
from sessions_app.guest.visit import Visit


def given_back(visit: Visit) -> str:
    """What has become of the money that goes back, without its full stop; empty where none does."""
    tab = visit.till
    if not tab.back:
        return ""
    if tab.returned >= tab.back:
        return _("%(back)s was paid back to you") % {"back": tab.say(tab.returned)}
    if is_still_owed(visit):
        return _("We still owe you %(back)s") % {"back": tab.say(tab.back - tab.returned)}
    return _("%(back)s is on its way back to you") % {"back": tab.say(tab.back)}


def is_still_owed(visit: Visit) -> bool:
    """A refund came to nothing, and no other is under way: there is no bank at which it could be waited for."""
    return visit.till.refused and visit.till.returned < visit.till.back


def refund_refused() -> str:
    return _("The refund did not go through. The people here have been told and see to it.")


def _given_back_meanwhile(visit: Visit, promise: str) -> Line:
    """Staff gave money back while the session goes on: that is said before what was paid."""
    paid = _("%(price)s paid.") % {"price": visit.price}
    rest = f"{paid} {promise}" if visit.till.kept else _("You pay nothing for this session.")
    return Line(f"{given_back(visit)}.", rest)


def before_power(visit: Visit, when_reserved: str) -> Line:
    if visit.till.back:
        return _given_back_meanwhile(visit, _("It comes back if %(device)s does not start.") % {"device": visit.name})
    if visit.till.is_reserved:
        return Line(_("%(price)s is reserved, not charged.") % {"price": visit.price}, when_reserved)
    if visit.till.captured:
        return Line(
            _("%(price)s paid.") % {"price": visit.price},
            _("It comes back if %(device)s does not start.") % {"device": visit.name},
        )
    return Line(
        _("Your payment of %(price)s is being confirmed.") % {"price": visit.price},
        _("You pay nothing if %(device)s does not start.") % {"device": visit.name},
    )


def while_on(visit: Visit) -> Line:
    promise = (
        _("Minutes you do not get are paid back.")
        if visit.session.refund_unused
        else _("Minutes we do not deliver are paid back.")
    )
    if visit.till.back:
        return _given_back_meanwhile(visit, promise)
    if visit.till.captured and visit.till.reserved:
        amounts = {"paid": visit.till.say(visit.till.captured), "reserved": visit.till.say(visit.till.reserved)}
        return Line(_("%(paid)s paid, %(reserved)s reserved.") % amounts, promise)
    if visit.till.captured:
        return Line(_("%(price)s paid.") % {"price": visit.price}, promise)
    return Line(_("%(price)s is charged now that it is on.") % {"price": visit.price}, promise)


def settled(visit: Visit) -> Line:
    """Money while the relay goes off: decided already, and told as decided."""
    tab = visit.till
    if tab.back:
        return Line(
            _("%(back)s comes back to you.") % {"back": tab.say(tab.back)},
            _("You pay %(kept)s for %(time)s.") % {"kept": tab.say(tab.kept), "time": words.span(visit.delivered_s)},
        )
    if tab.captured or tab.reserved:
        verb = _("%(price)s paid.") if tab.captured else _("You pay %(price)s.")
        return Line(verb % {"price": tab.say(tab.kept)}, _("Nothing more will be charged."))
    return Line(_("You were not charged."), _("Nothing will be charged."))


def reserved_or_paid(visit: Visit) -> str:
    words_ = _("%(price)s paid") if visit.till.captured else _("%(price)s reserved")
    return words_ % {"price": visit.price}


def stop_gives_back(visit: Visit) -> int:
    """Minor units that come back by stopping now, beside what staff has given back already."""
    if not visit.session.refund_unused and visit.session.paused_at is None:
        return 0
    tab = visit.till
    charges = money.charges(tab.orders, visit.delivered_s)
    of_each = zip(tab.orders, tab.promises, charges, strict=True)
    return sum(max(0, price - promised - charge) for (price, _s), promised, charge in of_each)


def stop_here(visit: Visit) -> Act:
    """The button of a page on which the minutes stand still: with the amount, where anything comes back."""
    back = stop_gives_back(visit)
    said = _("Stop here, get %(back)s back") % {"back": visit.till.say(back)} if back else _("Stop now")
    return Act(said, visit.url("stop"), "line")


def share_bar(visit: Visit, used_s: int, kept: int, back: int, back_words: str = "") -> Bar:
    return Bar(
        percent=100 * used_s / visit.session.duration_s,
        used=_("%(time)s used") % {"time": words.span(used_s)},
        used_amount=visit.till.say(kept),
        back=(back_words or _("%(time)s paid back")) % {"time": words.span(visit.session.duration_s - used_s)},
        back_amount=visit.till.say(back),
    )


def programme_facts(visit: Visit) -> tuple[Fact, ...]:
    return (
        Fact(_("Programme"), words.programme(visit.session.plan_name, visit.order.duration_s)),
        Fact(_("Price"), visit.price),
    )


def reference(visit: Visit) -> Fact:
    return Fact(_("Session"), visit.session.reference)
