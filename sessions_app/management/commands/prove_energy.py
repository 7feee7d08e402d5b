"""``manage.py prove_energy SOURCE DEVICE``: switch one free Device for ten seconds and see whether import rises."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from devices.energy import proof
from devices.energy.models import EnergySource, Sign
from devices.energy.proof import CannotProve, Progress
from devices.models import Device
from hygate import clock
from sessions_app import proving

LOOK_S = 0.5


class Command(BaseCommand):
    help = "Prove the sign of an energy source by switching one free Device of known watts for ten seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", type=int, help="number of the energy source, as in its page's address")
        parser.add_argument("device", type=int, help="number of the Device, as in its page's address")

    def handle(self, *_args: Any, **options: Any) -> None:
        source = EnergySource.objects.filter(pk=options["source"]).first()
        device = Device.objects.filter(pk=options["device"]).first()
        if source is None or device is None:
            raise CommandError("There is no such source or no such Device.")
        try:
            made = proving.begin(source=source, device=device, by="command line")
        except CannotProve as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(f"{device.name} is switched on for {proof.ON_FOR_S} s. It is switched off whatever happens.")
        made = _wait(source.pk, made)
        self.stdout.write(made.sentence)
        if made.verdict != Sign.PROVEN:
            raise CommandError(f"The sign is not proven: {made.verdict}.")


def _wait(source_id: int, made: Progress) -> Progress:
    while made.is_under_way:
        clock.sleep(LOOK_S)
        made = proof.advance(source_id, clock.now()) or made
    return made
