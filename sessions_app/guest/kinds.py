"""What each kind of machine is to a guest: its picture, and the words for getting ready and for using it again."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from devices.models import DeviceKind

Words = str | Promise


@dataclass(frozen=True)
class GettingReady:
    """The words of the grace period: the chip, the offer on the page that sells (%(time)s is its length), the ring."""

    icon: str
    chip: Words
    offer: Words
    under_clock: Words
    no_need_to_wait: Words


@dataclass(frozen=True)
class Kind:
    """``art`` is a symbol of the sprite, ``box`` the size it is drawn in."""

    art: str
    box: str
    ready: GettingReady
    again: Words
    others: Words
    when_cut: Words
    """What it means to this machine that its power goes off at once."""


LOADING = GettingReady(
    icon="basket",
    chip=_("Time to load"),
    offer=_("%(time)s to load first."),
    under_clock=_("to load"),
    no_need_to_wait=_("Door closed, programme chosen on the machine? Then there is no need to wait."),
)
PLUGGING = GettingReady(
    icon="plug",
    chip=_("Time to plug in"),
    offer=_("%(time)s to plug in first."),
    under_clock=_("to plug in"),
    no_need_to_wait=_("Plugged in? Then there is no need to wait."),
)
PREPARING = GettingReady(
    icon="clock",
    chip=_("Time to get ready"),
    offer=_("%(time)s to get ready first."),
    under_clock=_("to get ready"),
    no_need_to_wait=_("All set? Then there is no need to wait."),
)

KINDS: dict[str, Kind] = {
    DeviceKind.WASHER: Kind(
        art="art-washer",
        box="0 0 34 42",
        again=_("Wash again"),
        others=_("Other washers here"),
        ready=LOADING,
        when_cut=_(
            "Power goes off at once. The washer stops where it is, perhaps with water in it, and cannot be switched"
            " on again from here."
        ),
    ),
    DeviceKind.DRYER: Kind(
        art="art-dryer",
        box="0 0 34 42",
        again=_("Dry again"),
        others=_("Other dryers here"),
        ready=LOADING,
        when_cut=_("Power goes off at once. The drum stops where it is; take the laundry out while it is warm."),
    ),
    DeviceKind.EV: Kind(
        art="art-ev",
        box="0 0 37 40",
        again=_("Charge again"),
        others=_("Other sockets here"),
        ready=PLUGGING,
        when_cut=_("Power goes off at once, and charging ends."),
    ),
    DeviceKind.SAUNA: Kind(
        art="art-sauna",
        box="0 0 38 42",
        ready=PREPARING,
        again=_("Heat again"),
        others=_("Other saunas here"),
        when_cut=_("Power goes off at once, and the oven cools down."),
    ),
    DeviceKind.SOCKET: Kind(
        art="art-socket",
        box="0 0 40 40",
        ready=PLUGGING,
        again=_("Use it again"),
        others=_("Other sockets here"),
        when_cut=_("Power goes off at once for everything that is plugged in."),
    ),
}


def kind_of(kind: str) -> Kind:
    return KINDS.get(kind, KINDS[DeviceKind.SOCKET])
