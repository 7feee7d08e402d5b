"""Why a device cannot be bought now: each reason with its picture, its sentence, and what that means to the guest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.utils.translation import gettext_lazy as _

from sessions_app.guest.kinds import Words


@dataclass(frozen=True)
class Why:
    """``%(device)s``, ``%(company)s`` and ``%(rest)s`` may stand in the words until they are ``spoken``."""

    state: str
    icon: str
    word: Words
    say: Words
    """Where it is known when it will be free, that comes instead."""
    heading: Words
    text: Words

    def spoken(self, names: dict[str, str]) -> Spoken:
        known = {**names, "rest": str(NOTHING)}
        return Spoken(
            state=self.state,
            icon=self.icon,
            word=str(self.word) % known,
            say=str(self.say) % known,
            heading=str(self.heading) % known,
            text=str(self.text) % known,
        )


@dataclass(frozen=True)
class Spoken:
    """The same in the reader's language, about one device."""

    state: str
    icon: str
    word: str
    say: str
    heading: str
    text: str


NOTHING = _("Nothing can be bought here until then, and nothing can be charged.")
NOT_OFFERED = Why(
    state="not_for_sale",
    icon="nosale",
    word=_("Not for sale"),
    say=_("Nothing is sold on %(device)s at the moment."),
    heading=_("No programme is offered here"),
    text=_("You have not paid anything, and nothing can be charged."),
)
REASONS: dict[str, Why] = {
    "busy": Why(
        state="busy",
        icon="clock",
        word=_("In use"),
        say=_("%(device)s is in use, or somebody is paying for it."),
        heading=_("Somebody was here before you"),
        text=_("You can buy as soon as it is free. This page shows it by itself."),
    ),
    "kept": Why(
        state="busy",
        icon="people",
        word=_("Kept"),
        say=_("%(device)s is kept for the first in line."),
        heading=_("Somebody was here before you"),
        text=_("Whoever waits in line gets it first. This page shows by itself when it is free."),
    ),
    "maintenance": Why(
        state="maintenance",
        icon="wrench",
        word=_("Being serviced"),
        say=_("We do not know yet when it is back."),
        heading=_("%(device)s is being serviced"),
        text=_("Nothing can be bought here until then. If you are using it now, your time goes on."),
    ),
    "blocked": Why(
        state="out_of_order",
        icon="wrench",
        word=_("Out of order"),
        say=_("%(device)s is out of order. The people here have been told."),
        heading=_("It has to be looked at first"),
        text=_("You have not paid anything, and nothing can be charged."),
    ),
    "offline": Why(
        state="unreachable",
        icon="reach",
        word=_("Out of reach"),
        say=_("%(device)s does not answer us right now."),
        heading=_("We sell only what answers"),
        text=_("It is often back within minutes. %(rest)s"),
    ),
    "clock": Why(
        state="unreachable",
        icon="clock",
        word=_("Not for sale"),
        say=_("We cannot sell time on %(device)s right now."),
        heading=_("Our clock has to be right first"),
        text=_("The people here have been told. %(rest)s"),
    ),
    "no_payment": Why(
        state="unreachable",
        icon="card",
        word=_("Not for sale"),
        say=_("We cannot take payments for %(device)s right now."),
        heading=_("Our payment service has to work first"),
        text=_("The people here have been told. %(rest)s"),
    ),
    "no_power": Why(
        state="no_power",
        icon="nobolt",
        word=_("Not enough power"),
        say=_("There is not enough power for %(device)s right now."),
        heading=_("Power comes first"),
        text=_("%(device)s is sold only while sun, battery and grid are known to carry it. %(rest)s"),
    ),
    "disabled": Why(
        state="not_for_sale",
        icon="nosale",
        word=_("Not for sale"),
        say=_("%(company)s sells nothing here at the moment."),
        heading=_("Selling is switched off"),
        text=_("If you are using %(device)s now, your time goes on."),
    ),
}


def reason(kind: str, names: dict[str, str], maintenance_text: str = "") -> Spoken:
    """The words of ``kind``; what the operator wrote about the maintenance stands as it is, above ours."""
    why = REASONS.get(kind, NOT_OFFERED).spoken(names)
    return replace(why, heading=maintenance_text) if kind == "maintenance" and maintenance_text else why
