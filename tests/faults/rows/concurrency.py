"""The concurrency rows: two who want the same thing at the same moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from cryptography.fernet import Fernet
from django.conf import settings

from hygate.demo.guest import Guest
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.faults.rows.processes import whole_again
from tests.stack.stack import wait_for

ROUNDS = 5


def at_once(*acts: Callable[[], None]) -> list[BaseException]:
    """Let all go from one barrier; answers what they raised."""
    barrier = threading.Barrier(len(acts))
    raised: list[BaseException] = []

    def go(act: Callable[[], None]) -> None:
        barrier.wait()
        try:
            act()
        except Exception as error:  # the caller says which of them may fail
            raised.append(error)

    threads = [threading.Thread(target=go, args=(act,)) for act in acts]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return raised


@row("C1", "two guests want one device in the same moment")
def c1(row: Row) -> None:
    """One stands on the payment page; the other is told before paying, round after round."""
    things = row.prepare(channels=ROUNDS)
    for thing in things:
        row.until_sellable(thing)
        winners = race(row, thing)
        row.expect(len(winners) == 1, f"{len(winners)} guests stand on the payment page of {thing.code}")
        row.pay(row.sale_of(winners[0], thing), come_back=False)
    for sale in row.sales:
        row.until(sale, "completed", within_s=50)


def race(row: Row, thing: Thing) -> Sequence[Guest]:
    """Two phones press *Pay* together; answers those that were sent on to pay."""
    phones = [row.phone(), row.phone()]
    acts = []
    for phone in phones:
        phone.open(f"{row.stack.base_url}/d/{thing.code}/")
        form = phone.form(has="plan")
        assert form is not None, f"{thing.code} offers no plan"
        acts.append(lambda phone=phone, form=form: phone.submit(form, plan=str(thing.plan_id)))
    raised = at_once(*acts)
    row.expect(not raised, f"a guest met {raised}")
    there = [one for one in phones if one.url.startswith(row.stack.stripe_server.url)]
    for other in (one for one in phones if one not in there):
        row.expect(other.form(has="plan") is None and bool(other.state), "the other guest was told nothing")
    return there


@row("C2", "guest stops while the end comes")
def c2(row: Row) -> None:
    """One way out, one settlement, however close the two are."""
    things = row.prepare(channels=3)
    for thing in things:
        row.until_sellable(thing)
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        sale.guest.open(f"{sale.link}stop/")
        form = sale.guest.form(action_ends="/stop/")
        assert form is not None, f"the page offers no stop: {sale.guest.headline}"
        ends_at = row.column(sale, "ends_at").timestamp()
        time.sleep(max(0.0, ends_at + row.rng.uniform(-0.05, 0.03) - time.time()))
        sale.guest.submit(form)
        row.until(sale, "completed", "cancelled", within_s=20)
    for sale in row.sales:
        seen = row.evidence()
        told = [one["kind"] for one in seen.audit if one["session"] == sale.session_id]
        row.expect(told.count("session_stopping") == 1, "the session was stopped more than once")
        offs = [one for one in seen.commands if not one["on"] and one["device_id"] == sale.thing.id]
        row.expect(len(offs) == 1, f"{len(offs)} wishes for OFF")


@row("C3", "an extension is paid in the last fifth of a second")
def c3(row: Row) -> None:
    """Either it runs on without a gap, the timer armed anew, or it ends and the extension goes back whole."""
    things = row.prepare(channels=3, duration_s=8, extendable=True, max_total_s=24)
    for thing, before_s in zip(things, (0.2, row.rng.uniform(0.0, 0.2), row.rng.uniform(-0.1, 0.0)), strict=True):
        row.until_sellable(thing)
        extend_late(row, row.buy(thing), before_s)
    for sale in row.sales:
        row.until(sale, "completed", within_s=40)
        ran_on_or_ended(row, sale)


def extend_late(row: Row, sale: Sale, before_s: float) -> None:
    """Choose more time, and pay for it ``before_s`` before the end; from another phone, as the first is looked at."""
    row.until(sale, "running", within_s=20)
    phone = row.phone()
    phone.open(f"{sale.link}extend/")
    form = phone.form(has="plan")
    assert form is not None, f"no time is offered: {phone.headline} ({phone.state})"
    phone.submit(form, plan=str(sale.thing.plan_id))
    checkout = phone.url.rsplit("/", 1)[-1].split("?")[0]
    ends_at = row.column(sale, "ends_at").timestamp()
    time.sleep(max(0.0, ends_at - before_s - time.time()))
    try:
        answer = row.stripe("POST", f"/_ctl/checkout/{checkout}/pay")
    except AssertionError as refused:
        # the session ended first, and its page for more time with it: Stripe lets nobody pay there any more
        row.expect("is expired" in str(refused) and time.time() >= ends_at, str(refused))
        return
    if answer["redirect"]:
        phone.open(answer["redirect"])


def ran_on_or_ended(row: Row, sale: Sale) -> None:
    seen = row.evidence()
    session = next(one for one in seen.sessions if one["id"] == sale.session_id)
    extension = next(one for one in seen.payments if one["session_id"] == session["id"] and one["purpose"] != "start")
    spans = seen.stretches(sale.thing.shelly_id, sale.thing.channel)
    row.expect(len(spans) == 1, f"power was interrupted: {spans}")
    if extension["applied_at"] is None:
        row.expect(session["duration_s"] == 8 and session["delivered_s"] == 8, "minutes were added for nothing")
        return
    ons = [one for one in seen.commands if one["on"] and one["device_id"] == sale.thing.id]
    row.expect([one["reason"] for one in ons][:2] == ["start", "extend"], "the timer was not armed anew")
    row.expect(session["delivered_s"] == 16, f"{session['delivered_s']} s of 16 s were delivered")


@row("C4", "an operator stops a session while it starts, and takes a device out of service before its start")
def c4(row: Row) -> None:
    """Both are off in the end, whatever was on its way; nothing is charged for the one that never started."""
    stopped, disabled = row.prepare(channels=2)
    later = row.prepare(grace_s=5)[0]
    for thing in (stopped, disabled, later):
        row.until_sellable(thing)
    first, second = row.buy(stopped), row.buy(later)
    row.until(first, "starting", "running", within_s=15)
    row.until(second, "grace", within_s=15)
    at_once(lambda: staff_stops(first), lambda: take_out_of_service(later))
    row.until(first, "cancelled", within_s=20)
    row.until(second, "completed", "cancelled", within_s=40)
    row.expect(not row.is_on(stopped) and not row.is_on(later), "a relay is on")


def staff_stops(sale: Sale) -> None:
    """What the dashboard's *Stop* calls."""
    from hygate.models import User
    from sessions_app.models import DeviceSession
    from sessions_app.services import stop_by_staff

    user, _ = User.objects.get_or_create(email="operator@example.com")
    stop_by_staff(DeviceSession.objects.get(pk=sale.session_id), user, "row C4")


def take_out_of_service(thing: Thing) -> None:
    from devices.models import Device

    Device.objects.filter(pk=thing.id).update(active=False)


@row("C5", "price and minutes of the plan are edited while the guest pays")
def c5(row: Row) -> None:
    """The guest gets what the page said: the order and the session hold their own copy."""
    thing = row.device(duration_s=6, price_minor=250)
    sale = row.hold(thing)
    dearer = row.rng.randrange(300, 900)
    row.stack.sql("UPDATE devices_usageplan SET price_minor = %s, duration_s = 20 WHERE id = %s", dearer, thing.plan_id)
    row.pay(sale)
    row.until(sale, "completed", within_s=30)
    row.expect(row.column(sale, "duration_s") == 6, "the minutes that were bought have changed")
    taken = [one["amount"] for one in row.money(sale, "captured")]
    row.expect(taken == [250], f"captured {taken} for a price of 250")


@row("C6", "the key of stored secrets is changed while commands run", lane="alone", off_late_s=5.0)
def c6(row: Row) -> None:
    """New key in front, processes restarted one by one, secrets re-encrypted under load: nothing becomes unreadable,
    not even for a process that does not have the new key yet."""
    things = row.prepare(channels=3, duration_s=8)
    for thing in things:
        row.until_sellable(thing)
    row.buy(things[0])
    keys = f"{Fernet.generate_key().decode()},{settings.FIELD_KEYS[0]}"
    row.stack.numbers["HYGATE_FIELD_KEYS"] = keys  # for whatever starts from now on, in the rows after this one too
    row.after.append(lambda: whole_again(row))
    for name in row.stack.product:
        row.stack.process[name].stop()
        row.stack.run(name)
    wait_for(lambda: row.stack.answers("/readyz"), 30, "the pages answer")
    for thing in things[1:]:
        row.until_sellable(thing)
        row.buy(thing)
    manage(row, "rotate_secrets")
    manage(row, "rotate_secrets", "--check")
    for sale in row.sales:
        row.until(sale, "completed", within_s=40)
    unreadable = [log.name for log in row.stack.folder.glob("*.log") if "SecretUnreadable" in log.read_text()]
    row.expect(not unreadable, f"secrets could not be read: {unreadable}")


def manage(row: Row, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=row.stack.tree, env=row.stack.own_environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    row.expect(done.returncode == 0, f"manage.py {' '.join(command)}: {(done.stdout + done.stderr)[-300:]}")
