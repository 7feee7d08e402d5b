"""The active proof: Hygate switches one Device of known watts for ten seconds, and import must rise by them.

It settles what no look at the plant alone can: whether the source's grid power is import or export, and which phase
the Device is on. It goes in steps that nobody has to wait for:

1. ``begin`` writes the ON (the relay's own timer with it) and the site's import before it.
2. When the ON is confirmed, ``on_relay_outcomes`` writes the OFF for ten seconds later, in the same transaction; a
   relay that could not be switched on is switched off as well. From here on the OFF needs neither page nor command.
3. ``advance`` is called by whoever is there (the watcher after each reading, the page, ``prove_energy``): it takes one
   sample of each new reading, and judges when the OFF has been sent.

The Device must be off from the first step on, so that nothing is sold there; a session that starts all the same
overtakes the proof, as it overtakes every command.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from django.db import transaction

from devices.energy import balance, site
from devices.energy.models import EnergySource, LatestReading, Sign, SitePower
from devices.energy.reading import PHASES, Field, Reading
from devices.energy.watching.keeping import sign_refused
from devices.models import Device, Phases, RelayCommand
from devices.relays.commands import order_off, order_on
from devices.relays.models import OPEN, CommandState
from devices.relays.outcomes import RelayOutcome, RelayOutcomes
from hygate import audit, clock
from hygate.alerts import close_alert

ON_FOR_S = 10
BEFORE_S = 3
"""How long the site is watched before the ON leaves."""
SETTLES = timedelta(seconds=1)
"""What a meter may lag behind the confirmed ON."""
GIVES_UP_AFTER = timedelta(seconds=120)
FRESH = timedelta(seconds=10)
LEAST_W = 500
TOLERANCE = 0.2
LEAST_DURING = 2
MOST_SAMPLES = 200
OWNER = "proof:"


class CannotProve(Exception):
    """The proof cannot begin; the message is a sentence for people."""


# -- the judge: pure


@dataclass(frozen=True)
class Sample:
    """One reading in W: ``grid_w`` and ``phases_w`` positive = import as the source tells it, charge positive."""

    at: float
    grid_w: float
    phases_w: tuple[float, ...] = ()
    battery_charge_w: float | None = None


@dataclass(frozen=True)
class Judgement:
    """The verdict on the sign; ``phases`` is where the Device was seen, None where that cannot be said."""

    verdict: balance.Verdict
    phases: Phases | None = None


def judge(before: Sequence[Sample], during: Sequence[Sample], watts: int) -> Judgement:
    """Whether import rose by ``watts`` (±20 %) while the Device was on; a fall by them refuses the sign."""
    if not before or len(during) < LEAST_DURING:
        return Judgement(balance.Unproven("Too few readings came in while the Device was on. Try again."))
    tolerance = TOLERANCE * watts
    if max(_spread(before), _spread(during)) > tolerance:
        return Judgement(balance.Unproven("The site's own load moved meanwhile. Try again at a quieter moment."))
    rise = _grid(during) - _grid(before)
    if abs(rise - watts) <= tolerance:
        where = _phases(before, during, watts)
        on = f", on {Phases(where).label}" if where else ""
        return Judgement(
            balance.Proven(f"A Device of {watts} W was switched on and import rose by {rise:.0f} W{on}."), where
        )
    if abs(rise + watts) <= tolerance:
        return Judgement(
            balance.Refused(
                f"A Device of {watts} W was switched on and the source says that import fell by {-rise:.0f} W: "
                f"the sign is flipped. Turn the grid meter's direction, then prove it again."
            )
        )
    return Judgement(balance.Unproven(_neither(before, during, watts, rise)))


def _neither(before: Sequence[Sample], during: Sequence[Sample], watts: int, rise: float) -> str:
    given = _battery(before) - _battery(during)
    if given >= watts / 2:
        return (
            f"The battery gave {given:.0f} W of the Device's {watts} W, so import hardly moved. "
            f"Try again while the battery is full or at its reserve."
        )
    if abs(rise) <= TOLERANCE * watts:
        return (
            f"A Device of {watts} W was switched on and import did not move: is it behind this meter, and plugged in?"
        )
    return (
        f"A Device of {watts} W was switched on and import changed by {rise:.0f} W, which is neither. "
        f"Compare its rated power with what it draws."
    )


def _phases(before: Sequence[Sample], during: Sequence[Sample], watts: int) -> Phases | None:
    """The phase that took it, or all three where each took its third."""
    rows = (*before, *during)
    if any(len(one.phases_w) != len(PHASES) for one in rows):
        return None
    rises = [
        median(one.phases_w[index] for one in during) - median(one.phases_w[index] for one in before)
        for index in range(len(PHASES))
    ]
    if all(abs(rise - watts / 3) <= TOLERANCE * watts / 3 for rise in rises):
        return Phases.ALL
    took = [index for index, rise in enumerate(rises) if abs(rise - watts) <= TOLERANCE * watts]
    still = [index for index, rise in enumerate(rises) if abs(rise) <= TOLERANCE * watts]
    return (Phases.L1, Phases.L2, Phases.L3)[took[0]] if len(took) == 1 and len(still) == len(PHASES) - 1 else None


def _grid(samples: Sequence[Sample]) -> float:
    return median(one.grid_w for one in samples)


def _spread(samples: Sequence[Sample]) -> float:
    watts = [one.grid_w for one in samples]
    return max(watts) - min(watts)


def _battery(samples: Sequence[Sample]) -> float:
    known = [one.battery_charge_w for one in samples if one.battery_charge_w is not None]
    return median(known) if known else 0.0


# -- the steps


@dataclass(frozen=True)
class Progress:
    """A proof as its source's row keeps it. ``over_at`` None: under way; ``sentence`` says how it stands or ended."""

    device: int
    watts: int
    command: int
    by: str
    began_at: datetime
    samples: tuple[Sample, ...] = ()
    over_at: datetime | None = None
    verdict: str = ""
    sentence: str = ""

    @property
    def is_under_way(self) -> bool:
        return self.over_at is None


def progress_of(source: EnergySource) -> Progress | None:
    """The proof under way, or the last one."""
    kept: dict[str, Any] = source.proof
    if not kept:
        return None
    over = kept.get("over_at")
    return Progress(
        device=kept["device"],
        watts=kept["watts"],
        command=kept["command"],
        by=kept["by"],
        began_at=datetime.fromtimestamp(kept["began_at"], UTC),
        samples=tuple(Sample(at, grid, tuple(phases), battery) for at, grid, phases, battery in kept["samples"]),
        over_at=datetime.fromtimestamp(over, UTC) if over else None,
        verdict=kept.get("verdict", ""),
        sentence=kept.get("sentence", ""),
    )


def begin(source: EnergySource, device: Device, *, by: str, is_in_session: Callable[[int], bool]) -> Progress:
    """Write the ON and what the site draws before it; raises ``CannotProve``.

    ``is_in_session`` is asked under the Device's lock, under which slots are held as well.
    """
    now = clock.now()
    with transaction.atomic():
        # the source's row comes before the device's, here and in ``advance``; nobody else locks both
        fresh = EnergySource.objects.select_for_update(of=("self",)).get(pk=source.pk)
        locked = Device.objects.select_for_update(of=("self",)).select_related("location").get(pk=device.pk)
        first = _first_sample(fresh, now)
        _refuse(fresh, locked, first, is_in_session(locked.pk))
        watts = locked.rated_w or 0
        command = order_on(
            locked,
            reason="proof",
            wanted_by=f"{OWNER}{fresh.pk}",
            for_s=ON_FOR_S,
            give_up_at=now + GIVES_UP_AFTER / 2,
            not_before=now + timedelta(seconds=BEFORE_S),
        )
        Device.objects.filter(pk=locked.pk).update(must_be_off_since=now)  # so that nothing is sold there meanwhile
        made = Progress(locked.pk, watts, command.pk, by, now, (first,))
        _keep(fresh.pk, made)
        audit.write("energy_proof_began", actor=by, source=fresh.pk, device=locked.pk, watts=watts, command=command.pk)
    return made


def on_relay_outcomes(told: RelayOutcomes) -> None:
    """The OFF that belongs to a proof's ON, inside the transaction that confirms it or gives it up."""
    for outcome in told.each:
        if outcome.on and outcome.wanted_by.startswith(OWNER):
            _order_off(outcome)


def _order_off(outcome: RelayOutcome) -> None:
    device = Device.objects.get(pk=outcome.device_id)
    confirmed = outcome.result == "confirmed"
    not_before = outcome.at + timedelta(seconds=ON_FOR_S) if confirmed else None
    order_off(device, reason="proof_over", wanted_by=outcome.wanted_by, not_before=not_before)


def advance(source_id: int, now: datetime) -> Progress | None:
    """Take the next sample; judge when the OFF has been sent. Any number of callers; answers how the proof stands."""
    with transaction.atomic():
        source = EnergySource.objects.select_for_update(of=("self",)).select_related("location").get(pk=source_id)
        made = progress_of(source)
        if made is None or not made.is_under_way:
            return made
        made = _sampled(source, made)
        on = RelayCommand.objects.get(pk=made.command)
        off = RelayCommand.objects.filter(
            device=made.device, on=False, wanted_by=f"{OWNER}{source.pk}", pk__gt=on.pk
        ).first()
        judged = _judged(made, on, off, now)
        if judged is not None:
            _withdraw(on)
            made = _over(source, made, judged, now)
        _keep(source.pk, made)
    return made


def _judged(made: Progress, on: RelayCommand, off: RelayCommand | None, now: datetime) -> Judgement | None:
    """None while the proof goes on."""
    if on.state in (CommandState.FAILED, CommandState.SUPERSEDED):
        why = f" ({on.last_error})" if on.last_error else ""
        return Judgement(balance.Unproven(f"The Device could not be switched on{why}."))
    if off is not None and off.state == CommandState.SUPERSEDED:
        return Judgement(balance.Unproven("A session began on the Device before the proof was over."))
    if off is not None and off.first_sent_at is not None and on.confirmed_at is not None:
        before, during = _parted(made.samples, on, on.confirmed_at + SETTLES, off.first_sent_at)
        return judge(before, during, made.watts)
    if now - made.began_at > GIVES_UP_AFTER:
        return Judgement(balance.Unproven("It took too long: the relay's commands did not get through in time."))
    return None


def _withdraw(on: RelayCommand) -> None:
    """An ON that still waits (the cloud is silent) is overtaken by an OFF: nothing may follow a proof that is over."""
    if on.state in OPEN:
        order_off(on.device, reason="proof_over", wanted_by=on.wanted_by)


def _parted(
    samples: Sequence[Sample], on: RelayCommand, since: datetime, until: datetime
) -> tuple[list[Sample], list[Sample]]:
    sent_at = (on.first_sent_at or on.created_at).timestamp()
    before = [one for one in samples if one.at <= sent_at]
    during = [one for one in samples if since.timestamp() <= one.at <= until.timestamp()]
    return before, during


def _over(source: EnergySource, made: Progress, judged: Judgement, now: datetime) -> Progress:
    """Write the verdict down: on the source where it is one, on the Device where it was seen."""
    verdict, sentence = judged.verdict, judged.verdict.sentence[:400]
    sign = {balance.Proven: Sign.PROVEN, balance.Refused: Sign.REFUSED}.get(type(verdict), Sign.UNPROVEN)
    if judged.phases is not None:
        Device.objects.filter(pk=made.device).update(phases=judged.phases)
    if sign != Sign.UNPROVEN:
        EnergySource.objects.filter(pk=source.pk).update(sign=sign, sign_sentence=sentence, sign_at=now)
    audit.write(
        "energy_proof",
        actor=made.by,
        source=source.pk,
        device=made.device,
        sign=str(sign),
        phases=str(judged.phases or ""),
        sentence=sentence,
    )
    if sign == Sign.REFUSED:
        sign_refused(source, sentence)
    elif sign == Sign.PROVEN:
        close_alert(f"energy:{source.pk}:sign")
    return replace(made, over_at=now, verdict=str(sign), sentence=sentence)


# -- what may begin


def _refuse(source: EnergySource, device: Device, first: Sample, taken: bool) -> None:
    """Raises ``CannotProve`` where the proof would be unsafe, or could tell nothing."""
    made = progress_of(source)
    if made is not None and made.is_under_way and clock.now() - made.began_at < GIVES_UP_AFTER:
        raise CannotProve("A proof with this source is under way.")
    if device.location_id != source.location_id:
        raise CannotProve(f"{device.name} is at another location than {source.name}.")
    if taken:
        raise CannotProve(f"{device.name} is in a session: a guest's device is never switched for a proof.")
    reason = _unfit(device)
    if reason:
        raise CannotProve(f"{device.name} {reason}.")
    _refuse_overload(device, first)


def _unfit(device: Device) -> str:
    """Why the relay is not to be switched now; empty where it may be."""
    if device.rated_w is None or device.rated_w < LEAST_W:
        return f"has no rated power of at least {LEAST_W} W: its step could not be told from the site's own"
    if device.maintenance_since is not None or device.blocked_since is not None or device.vanished_at is not None:
        return "is in maintenance or out of order"
    if device.must_be_off_since is not None or RelayCommand.objects.filter(device=device, state__in=OPEN).exists():
        return "has a command under way, or its OFF is not read back yet"
    if device.off_expected_at is not None or device.output:
        return "is on"
    if not device.online or device.output is None:
        return "is offline, or was never read"
    if device.timer_unproven:
        return "did not show its own timer at the last ON, so that its OFF would not be certain"
    return ""


def _refuse_overload(device: Device, first: Sample) -> None:
    """The sign is not known yet, so each flow counts as import; and each phase as the Device's, unless it is known."""
    power = SitePower.objects.filter(location=device.location_id).first()
    if power is None:
        return
    watts = device.rated_w or 0
    if power.grid_import_w is not None and abs(first.grid_w) + watts > power.grid_import_w:
        raise CannotProve(f"With {device.name} the site could draw more than its {power.grid_import_w} W. Try later.")
    share = watts / 3 if device.phases == Phases.ALL else watts
    if power.fuse_w and max((abs(one) for one in first.phases_w), default=0.0) + share > power.fuse_w:
        raise CannotProve(f"With {device.name} a phase could draw more than its fuse of {power.fuse_w} W. Try later.")


def _first_sample(source: EnergySource, now: datetime) -> Sample:
    if not source.active:
        raise CannotProve(f"{source.name} is switched off.")
    if source.is_cloud:
        raise CannotProve(f"{source.name} is minutes old: it cannot show ten seconds. Use Modbus or MQTT.")
    sample = _latest(source)
    if sample is None or now.timestamp() - sample.at > FRESH.total_seconds():
        raise CannotProve(f"{source.name} has no fresh reading of the grid power. Look whether it delivers.")
    return sample


def _sampled(source: EnergySource, made: Progress) -> Progress:
    sample = _latest(source)
    if sample is None or sample.at <= made.samples[-1].at or len(made.samples) >= MOST_SAMPLES:
        return made
    return replace(made, samples=(*made.samples, sample))


def _latest(source: EnergySource) -> Sample | None:
    latest = LatestReading.objects.filter(source=source).first()
    reading = site.reading_of(latest.fields) if latest is not None else Reading({})
    grid = reading[Field.GRID_IMPORT]
    if grid is None or not math.isfinite(grid.value):
        return None
    phases = [reading.value(phase) for phase in PHASES]
    known = tuple(float(phase) for phase in phases if phase is not None)
    battery = reading.value(Field.BATTERY_CHARGE)
    return Sample(grid.at.timestamp(), float(grid.value), known, None if battery is None else float(battery))


def _keep(source_id: int, made: Progress) -> None:
    kept = {
        "device": made.device,
        "watts": made.watts,
        "command": made.command,
        "by": made.by,
        "began_at": made.began_at.timestamp(),
        "samples": [[one.at, one.grid_w, list(one.phases_w), one.battery_charge_w] for one in made.samples],
        "over_at": made.over_at.timestamp() if made.over_at else None,
        "verdict": made.verdict,
        "sentence": made.sentence,
    }
    EnergySource.objects.filter(pk=source_id).update(proof=kept)
