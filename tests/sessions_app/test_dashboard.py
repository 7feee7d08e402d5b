"""The dashboard: who may see and do what, that keys stay inside, and that pages stay cheap and free of inline code."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.adding import ALPHABET, Choice, NotSellable, add_devices
from devices.models import Device, DeviceCode, Location, RelayAttempt, RelayCommand, ShellyAccount, UsagePlan
from devices.shelly.errors import BadKey
from devices.shelly.server_url import check_server_url
from hygate import audit, clock
from hygate.models import AuditEvent, Heartbeat, SiteSettings, User
from sessions_app.dashboard import channels, timeline
from sessions_app.dashboard.forms import LocationForm, PlanForm
from sessions_app.dashboard.spelling import length, natural
from sessions_app.models import DeviceSession, Payment
from sessions_app.payments import keyring
from sessions_app.states import Reason, State

KEY = "the-auth-key-of-this-account"
TOKEN = "the-whole-link-of-this-guest"
PASSWORD = "correct horse battery"
CHANNEL = {
    "shelly_id": "aabbcc",
    "model": "SPSW-104PE16EU",
    "generation": 2,
    "online": True,
    "output": False,
    "sellable": True,
    "reason": "",
}
SHUTTER = {"shelly_id": "ddeeff", "channel": None, "name": "Shutter", "sellable": False, "reason": "cover profile"}
FOUND = [*(CHANNEL | {"channel": number, "name": f"Washer {number + 1}"} for number in range(3)), CHANNEL | SHUTTER]
STAFF = ("overview", "devices", "device", "sessions", "session", "payments", "locations", "device_edit", "plan_edit")
ADMIN = ("accounts", "account", "account_add", "account_edit", "plan_add", "plan_delete", "location_add")
pytestmark = pytest.mark.django_db


class Site:
    """One location, account, device, plan and a running session, and a browser for each role."""

    def __init__(self) -> None:
        now = clock.now()
        self.location = Location.objects.create(name="Laundry house")
        self.account = ShellyAccount.objects.create(
            name="Seepark", server_url="http://127.0.0.1:8101", auth_key=KEY, found=FOUND, synced_at=now
        )
        self.device = self.add_device(0, "Washer 1")
        self.plan = UsagePlan.objects.create(device=self.device, name="Quick wash", duration_s=1800, price_minor=250)
        ends_at = now + timedelta(seconds=1800)
        self.session = self.add_session(self.device, State.RUNNING, started_at=now, ends_at=ends_at)
        Heartbeat.objects.create(name="sweep", at=now)
        Heartbeat.objects.create(name="worker:1", at=now)
        self.operator = browser("operator@example.com", first_name="Otto")
        self.administrator = browser("admin@example.com", superuser=True)

    def add_device(self, channel: int, name: str) -> Device:
        device = Device.objects.create(
            location=self.location, account=self.account, shelly_id="aabbcc", channel=channel, name=name, online=True
        )
        DeviceCode.objects.create(device=device, code=f"ABC{channel:03d}")
        return device

    def add_session(self, device: Device, state: str, **columns: Any) -> DeviceSession:
        number = DeviceSession.objects.count() + 1
        now = clock.now()
        session = DeviceSession.objects.create(
            reference=f"S-{number}",
            token_hash=hashlib.sha256(str(number).encode()).hexdigest(),
            token=f"{TOKEN}-{number}",
            device=device,
            plan_name="Quick wash",
            duration_s=1800,
            state=state,
            hold_expires_at=now,
            **columns,
        )
        Payment.objects.create(
            ref=f"S-{number}-1",
            session=session,
            status="SUCCEEDED",
            amount_minor=250,
            captured_minor=250,
            captured_at=now,
            currency="eur",
            duration_s=1800,
            plan_name="Quick wash",
            checkout_key=f"key-{number}",
            checkout_params="{}",
        )
        audit.write("slot_held", actor="guest", session=session.pk)
        audit.write("an_event_nobody_knows", session=session.pk)
        return session

    def url(self, name: str) -> str:
        """The address of a page about this site's only row of its sort."""
        rows = {"device": self.device, "maintenance": self.device, "plan": self.plan, "account": self.account}
        rows |= {"location": self.location, "session": self.session}
        row = rows.get(name.partition("_")[0])
        if name == "plan_add":
            row = self.device
        if name in ("account_add", "location_add"):
            row = None
        return reverse(f"dashboard:{name}", args=[] if row is None else [row.pk])


def browser(email: str, *, superuser: bool = False, **fields: Any) -> Client:
    make = User.objects.create_superuser if superuser else User.objects.create_user
    client = Client()
    client.force_login(make(email, PASSWORD, **fields), backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def site() -> Site:
    SiteSettings.objects.get_or_create(pk=1)
    return Site()


@pytest.mark.parametrize("name", STAFF)
def test_staff_page_opens_for_both_roles(site: Site, name: str) -> None:
    assert site.operator.get(site.url(name)).status_code == 200
    assert site.administrator.get(site.url(name)).status_code == 200


@pytest.mark.parametrize("name", ADMIN)
def test_administrators_page_is_forbidden_to_operators(site: Site, name: str) -> None:
    assert site.administrator.get(site.url(name)).status_code == 200
    refused = site.operator.get(site.url(name))
    assert refused.status_code == 403
    assert "This page is for administrators" in refused.content.decode()


@pytest.mark.parametrize("name", [*STAFF, *ADMIN, "overview_live", "session_stop"])
def test_anonymous_is_sent_to_the_login(site: Site, name: str) -> None:
    answer = Client().get(site.url(name))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/account/login/?next=/dashboard/")


def test_expired_login_during_polling_redirects_by_header(site: Site) -> None:
    shown = "https://hygate.example/dashboard/sessions/?state=active"
    answer = Client().get(site.url("overview_live"), headers={"HX-Request": "true", "HX-Current-URL": shown})
    assert answer.status_code == 204
    assert answer["HX-Redirect"] == "/account/login/?next=/dashboard/sessions/%3Fstate%3Dactive"


def test_menu_shows_only_what_the_role_may_open(site: Site) -> None:
    entry = f'href="{site.url("settings")}"'
    assert entry in site.administrator.get(site.url("locations")).content.decode()
    assert entry not in site.operator.get(site.url("locations")).content.decode()


@pytest.mark.parametrize("name", [*STAFF, *ADMIN])
def test_no_key_link_or_inline_code_in_any_page(site: Site, name: str) -> None:
    html = site.administrator.get(site.url(name)).content.decode()
    assert KEY not in html
    assert TOKEN not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", html)


@pytest.mark.parametrize("name", ["overview", "overview_live", "devices", "device", "sessions", "session", "payments"])
def test_number_of_queries_does_not_grow_with_rows(site: Site, name: str) -> None:
    for number in range(1, 12):
        device = site.add_device(number, f"Washer {number + 1}")
        site.add_session(device, State.STARTING)
        site.add_session(device, State.COMPLETED, closed_at=clock.now())
    keyring.in_force()  # a process reads the keys once in five seconds
    with CaptureQueriesContext(connection) as asked:
        assert site.administrator.get(site.url(name)).status_code == 200
    assert len(asked) <= 12, [one["sql"] for one in asked]


@pytest.mark.parametrize("name", ["accounts", "account", "locations"])
def test_set_up_pages_are_cheap(site: Site, name: str) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert site.administrator.get(site.url(name)).status_code == 200
    assert len(asked) <= 12


def test_live_part_answers_nothing_while_nothing_changed(site: Site) -> None:
    first = site.operator.get(site.url("overview_live"))
    seen = re.search(r'name="seen" value="([^"]*)"', first.content.decode())
    assert seen
    again = site.operator.get(site.url("overview_live"), headers={"X-Seen": seen[1]})
    assert (again.status_code, again.content) == (204, b"")
    Device.objects.filter(pk=site.device.pk).update(output=False, reading_at=clock.now() + timedelta(seconds=5))
    changed = site.operator.get(site.url("overview_live"), headers={"X-Seen": seen[1]})
    assert "interrupted: relay read back OFF" in changed.content.decode()


def test_operator_cannot_force_end(site: Site) -> None:
    before = AuditEvent.objects.count()
    answer = site.operator.post(site.url("session_force-end"), {"reason": "because"})
    assert answer.status_code == 403
    site.session.refresh_from_db()
    assert site.session.state == State.RUNNING
    assert AuditEvent.objects.count() == before
    assert "Force end" not in site.operator.get(site.url("session")).content.decode()


def test_operator_stops_a_session_with_a_reason(site: Site) -> None:
    url = site.url("session_stop")
    assert site.operator.post(url, {"reason": " "}).status_code == 422
    site.session.refresh_from_db()
    assert site.session.state == State.RUNNING
    answer = site.operator.post(url, {"reason": "The drum leaks"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (204, site.url("session"))
    site.session.refresh_from_db()
    assert (site.session.state, site.session.reason) == (State.STOPPING, Reason.STOPPED_BY_STAFF)
    page = site.operator.get(site.url("session")).content.decode()
    assert "by Otto · The drum leaks" in page


def test_action_on_what_is_over_changes_nothing(site: Site) -> None:
    over = site.add_session(site.add_device(5, "Dryer"), State.COMPLETED, closed_at=clock.now())
    url = reverse("dashboard:session_stop", args=[over.pk])
    answer = site.operator.post(url, {"reason": "late"}, follow=True)
    assert "nothing was done" in answer.content.decode()
    assert not AuditEvent.objects.filter(session=over.pk, kind="stop_requested").exists()


def test_getting_an_action_changes_nothing(site: Site) -> None:
    for name in ("session_stop", "session_force-end", "plan_delete"):
        assert site.administrator.get(site.url(name)).status_code == 200
    for name in ("account_sync", "maintenance_off", "plan_move", "account_channels"):
        assert site.administrator.get(site.url(name)).status_code == 405
    site.session.refresh_from_db()
    assert site.session.state == State.RUNNING
    assert UsagePlan.objects.filter(pk=site.plan.pk).exists()


def test_plan_form_writes_only_what_changed(site: Site) -> None:
    form = PlanForm.values_of(site.plan, "eur") | {"minutes": 45, "seconds": 30, "price": "3.20"}
    UsagePlan.objects.filter(pk=site.plan.pk).update(sort_order=7, reserve_w=900)
    assert site.operator.post(site.url("plan_edit"), form).status_code == 303
    site.plan.refresh_from_db()
    assert (site.plan.duration_s, site.plan.price_minor) == (2730, 320)
    assert (site.plan.sort_order, site.plan.reserve_w) == (7, 900)
    assert AuditEvent.objects.get(kind="plan_edited").data["changed"] == ["duration_s", "price_minor"]


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("price", "0.49", "Stripe charges at least €0.50."),
        ("price", "2.505", "EUR has 2 decimal places."),
        ("price", "NaN", "Enter a number."),
        ("price", "10000.01", "At most €10,000.00."),
        ("minutes", "0", "A plan lasts between one second and seven days."),
        ("grace_minutes", "61", "The grace period is at most 60 minutes."),
        ("name", "", "This field is required."),
    ],
)
def test_plan_that_cannot_be_sold_is_refused(site: Site, field: str, value: str, sentence: str) -> None:
    form = PlanForm.values_of(site.plan, "eur") | {"seconds": 0, field: value}
    answer = site.administrator.post(site.url("plan_add"), form)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert UsagePlan.objects.count() == 1


def test_plans_move_up_and_down(site: Site) -> None:
    other = UsagePlan.objects.create(device=site.device, name="Long", duration_s=3600, price_minor=400)
    site.operator.post(reverse("dashboard:plan_move", args=[other.pk]), {"to": "up"})
    assert list(site.device.plans.values_list("name", flat=True)) == ["Long", "Quick wash"]


def test_device_form_leaves_live_columns_alone(site: Site) -> None:
    page = {"name": "Washer A", "place": "", "kind": "washer", "rated_w": "2200", "active": "on"}
    Device.objects.filter(pk=site.device.pk).update(watts=1234, output=True)
    site.operator.post(site.url("device_edit"), page)
    site.device.refresh_from_db()
    assert (site.device.name, site.device.rated_w) == ("Washer A", 2200)
    assert (site.device.watts, site.device.output) == (1234, True)


def test_maintenance_is_in_the_sites_time_zone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 11, 30, tzinfo=UTC))
    site.operator.post(site.url("maintenance"), {"text": "New pump", "until": "2026-12-01T10:00"})
    site.device.refresh_from_db()
    assert site.device.maintenance_until is not None
    assert site.device.maintenance_until.isoformat() == "2026-12-01T09:00:00+00:00"
    site.operator.post(site.url("maintenance_off"))
    site.device.refresh_from_db()
    assert (site.device.maintenance_since, site.device.maintenance_text) == (None, "")


def test_maintenance_cannot_be_planned_to_end_in_the_past_and_an_old_end_may_stay(site: Site) -> None:
    past = {"text": "New pump", "until": "2020-12-01T10:00"}
    refused = site.operator.post(site.url("maintenance"), past)
    assert "This moment is over already." in refused.content.decode()
    site.device.refresh_from_db()
    assert (refused.status_code, site.device.maintenance_since) == (422, None)
    since = clock.now()
    Device.objects.update(maintenance_since=since, maintenance_until=datetime(2020, 12, 1, 9, tzinfo=UTC))
    assert site.operator.post(site.url("maintenance"), past | {"text": "Newer pump"}).status_code == 303
    site.device.refresh_from_db()
    assert (site.device.maintenance_since, site.device.maintenance_text) == (since, "Newer pump")


def test_operator_renames_a_location_and_no_more(site: Site) -> None:
    site.operator.post(site.url("location_edit"), {"name": "Cellar", "currency": "usd", "timezone": "UTC"})
    site.location.refresh_from_db()
    assert (site.location.name, site.location.currency, site.location.timezone) == ("Cellar", "eur", "Europe/Vienna")


def test_empty_key_keeps_the_saved_one(site: Site) -> None:
    page = {"name": "Seepark 2", "server_url": "http://127.0.0.1:8101", "auth_key": ""}
    assert site.administrator.post(site.url("account_edit"), page).status_code == 303
    assert ShellyAccount.objects.get().auth_key == KEY
    site.administrator.post(site.url("account_edit"), page | {"auth_key": "another"})
    assert ShellyAccount.objects.get().auth_key == "another"
    assert all("another" not in str(event.data) for event in AuditEvent.objects.all())


def test_key_goes_to_shelly_servers_only(site: Site) -> None:
    page = {"name": "Evil", "server_url": "https://evil.example", "auth_key": "typed-key"}
    answer = site.administrator.post(site.url("account_add"), page)
    assert answer.status_code == 422
    with pytest.raises(ValueError) as refusal:
        check_server_url(page["server_url"], [], True)
    assert str(refusal.value) in unescape(answer.content.decode())
    assert "typed-key" not in answer.content.decode()
    assert ShellyAccount.objects.count() == 1


def test_failed_sync_says_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_account: ShellyAccount) -> list[dict[str, Any]]:
        raise BadKey("HTTP 401")

    monkeypatch.setattr(channels, "sync_account", refuse)
    html = site.administrator.post(site.url("account_sync"), headers={"HX-Request": "true"}).content.decode()
    assert BadKey.says in unescape(html)
    assert "bad_key" in html
    assert site.operator.post(site.url("account_sync")).status_code == 403


def test_picked_channels_become_devices_with_a_code(site: Site) -> None:
    one, two = (f"{row['shelly_id']}-{row['channel']}" for row in site.account.found[1:3])
    page = {"pick": [one, two], f"name-{one}": "Washer B", f"kind-{one}": "washer", f"kind-{two}": "washer"}
    page |= {"location": str(site.location.pk), f"name-{two}": ""}
    assert site.administrator.post(site.url("account_channels"), page).status_code == 422
    assert Device.objects.count() == 1
    assert site.administrator.post(site.url("account_channels"), page | {f"name-{two}": "Washer C"}).status_code == 303
    added = Device.objects.get(name="Washer B")
    assert (added.channel, added.online, added.output, added.location) == (1, True, False, site.location)
    code = added.codes.get().code
    assert len(code) == 6
    assert set(code) <= set(ALPHABET)


def test_a_sync_that_comes_between_changes_nothing_of_what_was_picked(site: Site) -> None:
    """The form names channels by what they are: another device in front of the list must not be sold in their place."""
    one = site.account.found[1]
    key = f"{one['shelly_id']}-{one['channel']}"
    page = {"pick": [key], f"name-{key}": "Washer B", f"kind-{key}": "washer", "location": str(site.location.pk)}
    stranger = one | {"shelly_id": "5a00a0", "name": "Sauna"}
    site.account.found = [stranger, *site.account.found]
    site.account.save(update_fields=["found"])
    assert site.administrator.post(site.url("account_channels"), page).status_code == 303
    assert Device.objects.get(name="Washer B").shelly_id == one["shelly_id"]
    site.account.found = [stranger]
    site.account.save(update_fields=["found"])
    answer = site.administrator.post(site.url("account_channels"), page)
    assert (answer.status_code, "has changed meanwhile" in answer.content.decode()) == (422, True)


def test_names_with_odd_digits_are_sorted_like_any_other(site: Site) -> None:
    Location.objects.filter(pk=site.location.pk).update(name="Hall 1\u00b2")
    Device.objects.update(name="\u2460")
    for name in ("devices", "locations", "sessions", "payments"):
        assert site.administrator.get(site.url(name)).status_code == 200, name
    assert min(["Dryer 10", "Dryer 2", "Dryer \u00b2"], key=natural) == "Dryer 2"


def test_plans_keep_their_currency_and_their_longest_time(site: Site) -> None:
    """Prices are numbers in the currency of the place; more time is bounded by a multiple of the plan's own."""
    page = {name: getattr(site.location, name) or "" for name in LocationForm.base_fields} | {"currency": "usd"}
    refused = site.administrator.post(site.url("location_edit"), page)
    assert (refused.status_code, "priced in EUR" in refused.content.decode()) == (422, True)
    UsagePlan.objects.update(duration_s=1800, extendable=True, max_total_s=5400)
    site.plan.refresh_from_db()
    form = PlanForm.values_of(site.plan, "eur") | {"minutes": 120, "seconds": 0}
    assert site.administrator.post(site.url("plan_edit"), form).status_code == 303
    assert UsagePlan.objects.get().max_total_s == 3 * 7200


def test_the_form_says_whether_guests_may_extend_a_plan(site: Site) -> None:
    form = PlanForm.values_of(site.plan, "eur") | {"name": "Long", "minutes": 40, "seconds": 0, "extendable": "on"}
    assert site.administrator.post(site.url("plan_add"), form).status_code == 303
    made = UsagePlan.objects.get(name="Long")
    assert (made.extendable, made.max_total_s) == (True, 3 * 2400)
    UsagePlan.objects.filter(pk=made.pk).update(max_total_s=3000)
    address = reverse("dashboard:plan_edit", args=[made.pk])
    site.administrator.post(address, form | {"price": "4.00"})
    made.refresh_from_db()
    assert (made.extendable, made.max_total_s) == (True, 3000)
    site.administrator.post(address, {name: value for name, value in form.items() if name != "extendable"})
    made.refresh_from_db()
    assert (made.extendable, made.max_total_s) == (False, None)


def test_odd_lengths_from_an_hour_on_count_their_hours() -> None:
    said = {seconds: length(seconds).replace("\u00a0", " ") for seconds in (2115, 3600, 10069, 10080, 7200)}
    assert said == {2115: "35:15 min", 3600: "60 min", 10069: "2 h 47 min 49 s", 10080: "168 min", 7200: "2 hours"}


def test_what_cannot_be_sold_is_not_added(site: Site) -> None:
    with pytest.raises(NotSellable):
        add_devices(site.account, [Choice("ddeeff", 0, "Shutter")], site.location)
    assert add_devices(site.account, [Choice("aabbcc", 0, "Twice")], site.location) == []
    assert Device.objects.count() == 1


def test_attempts_replace_their_audit_events_in_the_timeline(site: Site) -> None:
    command = RelayCommand.objects.create(
        account=site.account,
        device=site.device,
        on=True,
        on_for_s=1800,
        reason="start",
        wanted_by=f"session:{site.session.pk}",
        state="confirmed",
    )
    now = clock.now()
    RelayAttempt.objects.create(command=command, number=1, sent_at=now, timer_s=1830, outcome="ok", latency_ms=312)
    for number, read in enumerate(("output=false", "output=false", "output=true"), start=1):
        RelayAttempt.objects.create(command=command, kind="read", number=number, sent_at=now, outcome="ok", answer=read)
    for kind in ("shelly_on_sent", "shelly_on_success"):
        audit.write(kind, session=site.session.pk, command=command.pk, attempt=1, latency_ms=312)
    audit.write("relay_on_confirmed", session=site.session.pk, command=command.pk, latency_ms=188)
    told = [(step.title, step.ms, step.times) for step in timeline.of(site.session, "eur")]
    assert ("ON asked, attempt 1 of 3", 312, 1) in told
    assert ("Read back: not ON yet", None, 2) in told
    assert ("ON confirmed by read-back", 188, 1) in told
    assert ("An event nobody knows", None, 1) in told
    assert not any(title in ("ON sent", "ON accepted") for title, _, _ in told)


def test_names_sort_naturally() -> None:
    assert sorted(["Dryer 10", "Dryer 2", "dryer 1", "7 up"], key=natural) == ["7 up", "dryer 1", "Dryer 2", "Dryer 10"]


def test_login_page_leads_to_the_dashboard(site: Site) -> None:
    client = Client()
    assert "Log in" in client.get("/account/login/").content.decode()
    answer = client.post("/account/login/", {"login": "operator@example.com", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard/")


@pytest.mark.parametrize(("proof", "says"), [("reading", "a reading shows the relay off"), ("timer", "no reading has")])
def test_the_timeline_says_what_shows_that_the_relay_is_off(site: Site, proof: str, says: str) -> None:
    audit.write("session_completed", session=site.session.pk, proof=proof)
    assert says in unescape(site.operator.get(site.url("session")).content.decode())
