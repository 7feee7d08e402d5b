"""Seeded bugs: twelve ways to build Hygate wrong. ``make faults MUTANTS=1`` plants each into a copy of the source and
demands that at least one row turns red, so that the harness is known to see. ``MUTANT=name`` picks one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.stack.stack import ROOT

LEFT_OUT = (".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis")
SEED = 1


@dataclass(frozen=True)
class Edit:
    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """``rows`` are played until one is red; each of them should be."""

    name: str
    says: str
    rows: tuple[str, ...]
    edits: tuple[Edit, ...]


MUTANTS = (
    Mutant(
        "no-read-back",
        "what the cloud accepted counts as done",
        ("D9",),
        (
            Edit(
                "devices/relays/rules.py",
                "    if reading.output is None or reading.output != command.on:\n        return False\n",
                "    if reading is not None:\n        return True\n",
            ),
        ),
    ),
    Mutant(
        "no-token-check",
        "a holder whose lease ran out goes on as if it were his",
        ("R5", "R13"),
        (
            Edit("hygate/due/claims.py", "Q(pk__in=pks, claim_token=token)", "Q(pk__in=pks)"),
            Edit("sessions_app/moves.py", "    if token is not None:\n", "    if False:\n"),
        ),
    ),
    Mutant(
        "no-toggle-after",
        "ON is sent without the relay's own timer",
        ("P1",),
        (
            Edit(
                "devices/relays/rules.py",
                "    if not command.on:\n        return None\n    if command.on_until",
                "    if command is not None:\n        return None\n    if command.on_until",
            ),
        ),
    ),
    Mutant(
        "on-after-off",
        "an OFF does not end the ON that is still waiting",
        ("D25",),
        (
            Edit(
                "devices/relays/models.py",
                'name="one_open_command", fields=["device"]',
                'name="one_open_command", fields=["device", "on"]',
            ),
            Edit(
                "devices/migrations/0001_initial.py",
                "fields=('device',), name='one_open_command'",
                "fields=('device', 'on'), name='one_open_command'",
            ),
            Edit(
                "devices/relays/commands.py",
                ".filter(device=device, state__in=OPEN):",
                ".filter(device=device, state__in=OPEN, on=False):",
            ),
        ),
    ),
    Mutant(
        "refund-twice",
        "each try of a refund is a new request to Stripe",
        ("P20",),
        (
            Edit(
                "sessions_app/payments/refunding.py",
                'key = f"refund:{payment.ref}:{refund.pk}:{refund.key_number}"',
                'key = f"refund:{payment.ref}:{refund.pk}:{clock.now().timestamp()}"',
            ),
        ),
    ),
    Mutant(
        "webhook-trusted",
        "whoever posts an event is believed",
        ("P8",),
        (
            Edit(
                "sessions_app/payments/stripe_gateway.py",
                "    if not any(_is_signed(body, signature, secret) for secret in ours):\n",
                "    if signature is None:\n",
            ),
        ),
    ),
    Mutant(
        "lease-never-ends",
        "what a dead worker held stays held",
        ("R2", "R1"),
        (
            Edit(
                "hygate/due/claims.py",
                "(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))",
                "Q(claimed_until__isnull=True)",
            ),
        ),
    ),
    Mutant(
        "claim-without-order",
        "an account's commands leave in the order of their making, OFF behind ON",
        ("D18",),
        (
            Edit(
                "devices/relays/steps.py",
                "key=lambda one: _rank(one, now))",
                "key=lambda one: (not one.on, one.pk))",
            ),
        ),
    ),
    Mutant(
        "hold-freed-before-expire",
        "the slot is free again before Stripe has closed the payment page",
        ("P15", "P14"),
        (
            Edit(
                "sessions_app/payments/acting.py",
                "    assert payment.checkout_id is not None\n    asked_at = clock.now()\n",
                "    assert payment.checkout_id is not None\n"
                "    asked_at = clock.now()\n"
                "    with transaction.atomic():\n"
                "        rows = DeviceSession.objects.select_for_update(of=('self',))\n"
                "        held = rows.select_related('device__location').get(pk=payment.session_id)\n"
                "        if held.state == State.HELD:\n"
                "            transition(held, Move(State.CANCELLED, Reason.HOLD_EXPIRED), now=asked_at)\n",
            ),
        ),
    ),
    Mutant(
        "capture-before-on",
        "the money is taken when the start begins",
        ("D1", "D3"),
        (
            Edit(
                "sessions_app/moves.py",
                "    if session.state == State.STARTING:\n        order_on(",
                "    if session.state == State.STARTING:\n"
                "        settlement.want_capture(session, now)\n"
                "        order_on(",
            ),
        ),
    ),
    Mutant(
        "audit-after-call",
        "the attempt is written when its answer is there",
        ("R1",),
        (
            Edit(
                "devices/relays/queue.py",
                "if one is not None]\n",
                "if one is not None]\n            answers = [calls.perform(request) for request in requests]\n",
            ),
            Edit(
                "devices/relays/queue.py",
                "        for request in requests:\n"
                "            _leaves()\n"
                "            self.flying[_pool.submit(calls.perform, request)] = request\n",
                "        for request, answer in zip(requests, answers, strict=True):\n"
                "            self.flying[_pool.submit(lambda told=answer: told)] = request\n",
            ),
        ),
    ),
    Mutant(
        "gap-from-start",
        "the account's gap is measured from the start of a request",
        ("D4", "D5"),
        (
            Edit(
                "devices/relays/pacing.py",
                'return {"limit_hits": 0, "free_at": answer.finished_at + timedelta(seconds=gap_s)}',
                "started = answer.finished_at - timedelta(milliseconds=answer.latency_ms or 0)\n"
                '    return {"limit_hits": 0, "free_at": started + timedelta(seconds=gap_s)}',
            ),
        ),
    ),
)


class Misfit(Exception):
    """An edit's text is not in the source exactly once: the source has moved on."""


def plant(mutant: Mutant, tree: Path) -> None:
    for edit in mutant.edits:
        path = tree / edit.path
        text = path.read_text()
        if text.count(edit.old) != 1:
            raise Misfit(f"{mutant.name}: {edit.path} holds its text {text.count(edit.old)} times instead of once")
        path.write_text(text.replace(edit.old, edit.new))


def run_mutants(only: str) -> int:
    """Play every seeded bug; answers 0 when each was seen."""
    chosen = [one for one in MUTANTS if not only or one.name == only]
    if not chosen:
        raise SystemExit(f"No such seeded bug: {only}. Known: {', '.join(one.name for one in MUTANTS)}")
    os.environ.setdefault("QUIESCE_S", "20")
    seen = {}
    for one in chosen:
        seen[one.name] = _red_rows(one)
        print(f"{one.name}: {seen[one.name] or 'NOT SEEN'}", flush=True)  # noqa: T201 - somebody waits
    width = max(map(len, seen))
    for name, red in seen.items():
        print(f"{name:<{width}}  {'seen by ' + red if red else 'NOT SEEN'}")  # noqa: T201 - the command's output
    return 0 if all(seen.values()) else 1


def _red_rows(mutant: Mutant) -> str:
    """The first row that the bug turns red, with what it said."""
    from tests.faults.__main__ import run
    from tests.faults.registry import scenarios

    with tempfile.TemporaryDirectory(prefix="hygate-mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
        plant(mutant, tree)
        began = time.monotonic()
        for id in mutant.rows:
            red = [one for one in run([scenarios()[id]], SEED, tree) if one.complaints]
            if red:
                return f"{red[0].id} in {time.monotonic() - began:.0f} s: {red[0].complaints[0]}"
    return ""
