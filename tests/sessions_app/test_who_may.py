"""Every address × everybody × reading and sending: one table, and an address that is not in it fails."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from devices.energy.models import SourceKind
from devices.models import Device, DeviceCode, EnergySource, Location, ShellyAccount, UsagePlan
from hygate import clock
from hygate.models import Alert, AuditEvent, Heartbeat, SiteLogo, SiteSettings, User
from sessions_app.guest import cookie
from sessions_app.models import DeviceSession, Payment, ProblemReport, QueueEntry
from sessions_app.states import State

pytestmark = pytest.mark.django_db
NOWHERE = "http://127.0.0.1:9"
KEY = "the-auth-key-of-this-account"
PLANT_SECRET = "the-app-secret-of-the-plant"
STRIPE_KEY = "sk_test_the-stripe-key-of-this-site"
LOGO = "0123456789ab"
LINK, FOREIGN_LINK = "the-link-of-this-guest", "the-link-of-another-guest"
PEOPLE = ("anonymous", "guest", "operator", "administrator")
"""``guest`` holds the cookie of a session of his own, on another device."""


@dataclass(frozen=True)
class Row:
    """``perm`` is what the view itself must say; then the answer to GET and to POST, for each of ``PEOPLE``.

    ``login``: sent to the login page. ``303``: did it, or says on the next page why not.
    """

    perm: str
    get: str
    post: str


READ_STAFF = Row("staff", "login login 200 200", "405 405 405 405")
READ_ADMIN = Row("administrator", "login login 403 200", "405 405 405 405")
FORM_STAFF = Row("staff", "login login 200 200", "login login 422 422")
FORM_ADMIN = Row("administrator", "login login 403 200", "login login 403 422")
DO_STAFF = Row("staff", "405 405 405 405", "login login 303 303")
DO_ADMIN = Row("administrator", "405 405 405 405", "login login 403 303")
TRY_ADMIN = Row("administrator", "405 405 405 405", "login login 403 200")
ASK_ADMIN = Row("administrator", "login login 403 200", "login login 403 303")
OWN_READ = Row("", "login login 200 200", "login login 405 405")
OWN_GUARDED = Row("", "login login 302 302", "login login 302 302")
"""The password is asked for once more first."""
FILE = Row("", "200 200 200 200", "405 405 405 405")
LINK_READ = Row("", "200 200 200 200", "405 405 405 405")
LINK_GO = Row("", "303 303 303 303", "405 405 405 405")
LINK_DO = Row("", "405 405 405 405", "303 303 303 303")

TABLE: dict[str, Row] = {
    "healthz": Row("", "200 200 200 200", "200 200 200 200"),
    "readyz": Row("", "200 200 200 200", "200 200 200 200"),
    "energy_live": Row("", "401 401 401 401", "405 405 405 405"),
    "stripe_webhook": Row("", "405 405 405 405", "400 400 400 400"),
    "account_login": Row("", "200 200 302 302", "200 200 302 302"),
    "account_logout": Row("", "302 302 200 200", "302 302 302 302"),
    "account_reauthenticate": Row("", "login login 200 200", "login login 200 200"),
    "account_change_password": Row("", "login login 200 200", "login login 200 200"),
    "invitation": Row("", "410 410 410 410", "410 410 410 410"),
    "mfa_authenticate": Row("", "login login 302 302", "login login 302 302"),
    "mfa_reauthenticate": Row("", "login login 302 302", "login login 302 302"),
    "mfa_index": OWN_READ,
    "mfa_activate_totp": OWN_GUARDED,
    "mfa_deactivate_totp": Row("", "login login 404 404", "login login 404 404"),
    "mfa_view_recovery_codes": Row("", "login login 404 404", "login login 405 405"),
    "mfa_generate_recovery_codes": OWN_GUARDED,
    "guest:brand": FILE,
    "guest:logo": FILE,
    "guest:qr": FILE,
    "guest:mine": LINK_READ,
    "guest:device": Row("", "200 200 200 200", "303 303 303 303"),
    "guest:join": Row("", "303 303 303 303", "303 303 303 303"),
    "guest:line": LINK_READ,
    "guest:line_choose": Row("", "303 303 303 303", "303 303 303 303"),
    "guest:line_longer": LINK_DO,
    "guest:line_leave": LINK_DO,
    "guest:line_tell": Row("", "200 200 200 200", "422 422 422 422"),
    "guest:session": LINK_READ,
    "guest:paid": LINK_GO,
    "guest:back": LINK_GO,
    "guest:pay": LINK_DO,
    "guest:start": LINK_DO,
    "guest:cancel": LINK_DO,
    "guest:stop": Row("", "200 200 200 200", "303 303 303 303"),
    "guest:extend": Row("", "200 200 200 200", "409 409 409 409"),
    "guest:extend_cancel": LINK_DO,
    "guest:language": LINK_DO,
    "guest:done_ics": LINK_READ,
    "guest:tell": Row("", "200 200 200 200", "422 422 422 422"),
    "guest:receipt": LINK_GO,
    "guest:receipt_pdf": LINK_GO,
    "guest:receipt_mail": LINK_DO,
    "guest:report": Row("", "200 200 200 200", "303 303 303 303"),
    "guest:report_sent": Row("", "200 200 200 200", "303 303 303 303"),
    "guest:label_report": Row("", "200 200 200 200", "303 303 303 303"),
    "dashboard:overview": READ_STAFF,
    "dashboard:overview_live": READ_STAFF,
    "dashboard:devices": READ_STAFF,
    "dashboard:devices_live": READ_STAFF,
    "dashboard:lights": READ_STAFF,
    "dashboard:light_switch": DO_STAFF,
    "dashboard:device": READ_STAFF,
    "dashboard:device_live": READ_STAFF,
    "dashboard:device_pulse": ASK_ADMIN,
    "dashboard:device_code": FORM_ADMIN,
    "dashboard:labels": READ_STAFF,
    "dashboard:labels_pdf": Row("staff", "login login 303 303", "405 405 405 405"),
    "dashboard:device_edit": FORM_STAFF,
    "dashboard:maintenance": Row("staff", "login login 200 200", "login login 303 303"),
    "dashboard:maintenance_off": DO_STAFF,
    "dashboard:device_unblock": DO_STAFF,
    "dashboard:plan_add": FORM_ADMIN,
    "dashboard:plan_edit": FORM_STAFF,
    "dashboard:plan_delete": ASK_ADMIN,
    "dashboard:plan_move": DO_STAFF,
    "dashboard:sessions": READ_STAFF,
    "dashboard:session": READ_STAFF,
    "dashboard:session_live": READ_STAFF,
    "dashboard:session_retry": Row("staff", "login login 303 303", "login login 303 303"),  # nothing waits
    "dashboard:session_minutes": FORM_STAFF,
    "dashboard:session_start": Row("staff", "login login 303 303", "login login 303 303"),
    "dashboard:session_stop": FORM_STAFF,
    "dashboard:session_force-end": FORM_ADMIN,
    "dashboard:session_mark-failed": FORM_ADMIN,
    "dashboard:problems": READ_STAFF,
    "dashboard:problem": READ_STAFF,
    "dashboard:problem_seen": DO_STAFF,
    "dashboard:problem_answer": FORM_STAFF,
    "dashboard:problem_close": DO_STAFF,
    "dashboard:payments": READ_STAFF,
    "dashboard:payment": READ_STAFF,
    "dashboard:payment_evidence": READ_STAFF,
    "dashboard:payment_refund": FORM_STAFF,
    "dashboard:reports": READ_STAFF,
    "dashboard:find": READ_STAFF,
    "dashboard:audit": READ_ADMIN,
    "dashboard:audit_verify": TRY_ADMIN,
    "dashboard:locations": READ_STAFF,
    "dashboard:location_add": FORM_ADMIN,
    "dashboard:location": READ_STAFF,
    "dashboard:location_edit": FORM_STAFF,
    "dashboard:accounts": READ_ADMIN,
    "dashboard:account_add": FORM_ADMIN,
    "dashboard:account": READ_ADMIN,
    "dashboard:account_edit": FORM_ADMIN,
    "dashboard:account_sync": DO_ADMIN,
    "dashboard:account_syncing": READ_ADMIN,
    "dashboard:account_channels": Row("administrator", "405 405 405 405", "login login 403 422"),
    "dashboard:account_test_new": TRY_ADMIN,
    "dashboard:account_test": DO_ADMIN,
    "dashboard:stripe": READ_ADMIN,
    "dashboard:stripe_test": DO_ADMIN,
    "dashboard:stripe_keys": FORM_ADMIN,
    "dashboard:settings": FORM_ADMIN,
    "dashboard:branding": FORM_ADMIN,
    "dashboard:branding_preview": Row("administrator", "login login 403 200", "login login 403 200"),
    "dashboard:branding_contrast": READ_ADMIN,
    "dashboard:security": READ_ADMIN,
    "dashboard:security_factor": DO_ADMIN,
    "dashboard:setup": READ_ADMIN,
    "dashboard:setup_live": READ_ADMIN,
    "dashboard:setup_plans": FORM_ADMIN,
    "dashboard:setup_labels": DO_ADMIN,
    "dashboard:setup_close": DO_ADMIN,
    "dashboard:setup_reopen": DO_ADMIN,
    "dashboard:energy": READ_STAFF,
    "dashboard:energy_live": READ_STAFF,
    "dashboard:energy_charts": READ_STAFF,
    "dashboard:energy_settings": READ_ADMIN,
    "dashboard:energy_source_add": FORM_ADMIN,
    "dashboard:energy_source_edit": FORM_ADMIN,
    "dashboard:energy_source_delete": ASK_ADMIN,
    "dashboard:energy_source_test_new": Row("administrator", "405 405 405 405", "login login 403 422"),
    "dashboard:energy_source_test": DO_ADMIN,
    "dashboard:energy_source_proof": FORM_ADMIN,
    "dashboard:energy_site": FORM_ADMIN,
    "dashboard:energy_token": Row("administrator", "login login 403 200", "login login 403 200"),
    "dashboard:team": READ_ADMIN,
    "dashboard:team_add": FORM_ADMIN,
    "dashboard:team_role": FORM_ADMIN,
    "dashboard:team_password": Row("administrator", "login login 403 200", "login login 403 200"),
    "dashboard:team_invite_again": DO_ADMIN,
    "dashboard:team_second_factor": ASK_ADMIN,
    "dashboard:team_activate": DO_ADMIN,
    "dashboard:team_deactivate": DO_ADMIN,
    "dashboard:alerts": READ_STAFF,
    "dashboard:alert_acknowledge": DO_STAFF,
    "dashboard:alert_close": DO_STAFF,
    "dashboard:help": READ_STAFF,
}
ADMINISTRATORS_ONLY = {
    "keys, integrations, settings, team, audit log": (
        "account stripe settings branding security setup team audit"
        " energy_settings energy_source energy_site energy_token"
    ),
    "sync, add and delete devices, plans, locations": "device_pulse device_code plan_add plan_delete location_add",
    "force end, mark failed": "session_force-end session_mark-failed",
}
"""The product's table of roles: addresses by how their names begin. Everything else is for all of the staff."""
NO_CSRF = {"stripe_webhook"}
"""Stripe signs its calls instead."""


def patterns(resolver: URLResolver, space: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every address of the site with its whole name."""
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from patterns(one, f"{space}{one.namespace}:" if one.namespace else space)
        else:
            yield f"{space}{one.name}", one


ALL = dict(patterns(get_resolver()))


class Site:
    """One row of everything, and a browser for each of ``PEOPLE``."""

    def __init__(self) -> None:
        self.location = Location.objects.create(name="Laundry house")
        self.account = ShellyAccount.objects.create(name="Seepark", server_url=NOWHERE, auth_key=KEY)
        self.device = self.add_device(0, "Washer 1", "WASH1")
        self.plan = UsagePlan.objects.create(device=self.device, name="Quick", duration_s=1800, price_minor=250)
        self.session = self.add_session(self.device, LINK)
        self.payment = self.session.payments.get()
        self.other = self.add_session(self.add_device(1, "Washer 2", "WASH2"), FOREIGN_LINK)
        self.place = QueueEntry.objects.create(
            device=self.device, token_hash=hashlib.sha256(LINK.encode()).hexdigest(), token=LINK
        )
        self.problem = ProblemReport.objects.create(
            reference="P-2345", session=self.session, device=self.device, cause="no_power"
        )
        self.alert = Alert.objects.create(key="mail", kind="mail_failed", title="Alerts cannot be mailed")
        self.source = EnergySource.objects.create(
            location=self.location,
            name="Plant",
            kind=SourceKind.SIGENERGY_OPENAPI,
            address=NOWHERE,
            secrets=json.dumps({"app_key": "the-app-key-of-the-plant", "app_secret": PLANT_SECRET}),
        )
        Heartbeat.objects.bulk_create([Heartbeat(name=name, at=clock.now()) for name in ("sweep", "energy")])
        self.colleague = User.objects.create(email="colleague@example.com")
        self.browsers = {name: self.browser(name) for name in PEOPLE}

    def add_device(self, channel: int, name: str, code: str) -> Device:
        device = Device.objects.create(
            location=self.location, account=self.account, shelly_id="aabbcc", channel=channel, name=name, online=True
        )
        DeviceCode.objects.create(device=device, code=code)
        return device

    def add_session(self, device: Device, link: str) -> DeviceSession:
        now = clock.now()
        session = DeviceSession.objects.create(
            reference=f"S-{device.pk}",
            token_hash=hashlib.sha256(link.encode()).hexdigest(),
            token=link,
            device=device,
            plan_name="Quick",
            duration_s=1800,
            state=State.RUNNING,
            hold_expires_at=now,
            started_at=now,
            ends_at=now + timedelta(seconds=1800),
        )
        Payment.objects.create(
            ref=f"S-{device.pk}-1",
            session=session,
            status="SUCCEEDED",
            amount_minor=250,
            captured_minor=250,
            captured_at=now,
            currency="eur",
            duration_s=1800,
            plan_name="Quick",
            checkout_key=f"key-{device.pk}",
            checkout_params="{}",
        )
        return session

    def browser(self, name: str, **kwargs: Any) -> Client:
        client = Client(**kwargs)
        if name == "guest":
            client.cookies[cookie.NAME] = self.cookie_of(FOREIGN_LINK)
        elif name != "anonymous":
            user, _ = User.objects.get_or_create(email=f"{name}@example.com", defaults={"role": name})
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    @staticmethod
    def cookie_of(link: str) -> str:
        from django.test import RequestFactory

        made = cookie.remember(RequestFactory().get("/"), HttpResponse(), link)
        return str(made.cookies[cookie.NAME].value)

    def url(self, name: str) -> str:
        """The address of ``name`` about this site's row."""
        pattern = ALL[name].pattern
        values: dict[str, Any] = {"token": LINK, "code": "WASH1", "form": "svg", "kind": "sigenergy_modbus"}
        values |= {"location": self.location.pk, "color": "153e63", "name": LOGO}
        rows = {"device": self.device, "maintenance": self.device, "plan": self.plan, "session": self.session}
        rows |= {"account": self.account, "location": self.location, "payment": self.payment, "team": self.colleague}
        rows["light"] = self.account
        rows |= {"alert": self.alert, "energy": self.source, "problem": self.problem}
        values |= {"reference": self.problem.reference, "shelly_id": "aabbcc", "channel": 0, "uidb64": "MQ"}
        word = name.rpartition(":")[2].partition("_")[0]
        if name in ("dashboard:energy_site", "dashboard:energy_token"):
            word = "location"
        values["pk"] = self.device.pk if name == "dashboard:plan_add" else getattr(rows.get(word), "pk", None)
        return reverse(name, kwargs={key: values[key] for key in pattern.regex.groupindex})

    def ask(self, person: str, method: str, url: str) -> str:
        """What it answers, as the table writes it; whatever it changed is undone, in the browser as well."""
        browser = Client()
        browser.cookies = copy.deepcopy(self.browsers[person].cookies)
        with transaction.atomic():
            send = getattr(browser, method)
            answer = send(url) if method == "get" else send(url, {"sent": "1"})
            transaction.set_rollback(True)
        if answer.status_code == 302 and answer["Location"].startswith("/account/login/"):
            path = answer["Location"].partition("?")[0]
            return "login" if path == "/account/login/" else "302"
        return str(answer.status_code)


@pytest.fixture
def site(settings: Any) -> Site:
    settings.STRIPE_API_BASE = NOWHERE
    settings.STRIPE_KEY = STRIPE_KEY
    SiteSettings.objects.get_or_create(pk=1)
    SiteLogo.objects.create(name=LOGO, image=b"RIFF")
    return Site()


def test_every_address_stands_in_the_table() -> None:
    assert set(ALL) - set(TABLE) == set(), "say in TABLE who may open these"
    assert set(TABLE) - set(ALL) == set(), "these are gone"


def test_everybody_gets_what_the_table_says(site: Site) -> None:
    wrong = {}
    for name, row in TABLE.items():
        for method, expected in (("get", row.get), ("post", row.post)):
            got = " ".join(site.ask(person, method, site.url(name)) for person in PEOPLE)
            if got != expected:
                wrong[f"{method} {name}"] = f"{got} instead of {expected}"
    assert wrong == {}, f"for {', '.join(PEOPLE)}"


@pytest.mark.parametrize("name", TABLE)
def test_a_view_says_itself_who_may_open_it(name: str) -> None:
    """Menu and buttons read the same attribute; what is not the dashboard's has none."""
    assert getattr(ALL[name].callback, "perm", "") == TABLE[name].perm
    assert bool(TABLE[name].perm) == name.startswith("dashboard:")


def test_the_roles_are_those_of_the_products_table() -> None:
    begins = tuple(f"dashboard:{word}" for words in ADMINISTRATORS_ONLY.values() for word in words.split())
    pages = [name for name in ALL if name.startswith("dashboard:")]
    assert {name for name in pages if TABLE[name].perm == "administrator"} == {
        name for name in pages if name.startswith(begins)
    }
    assert {TABLE[name].perm for name in pages} == {"staff", "administrator"}


def test_a_post_from_another_site_is_refused(site: Site) -> None:
    before = AuditEvent.objects.count()
    stranger = site.browser("administrator", enforce_csrf_checks=True)
    let_in = {name for name in TABLE if stranger.post(site.url(name), {"reason": "because"}).status_code != 403}
    assert let_in == NO_CSRF
    assert AuditEvent.objects.count() == before
    assert {name for name in ALL if getattr(ALL[name].callback, "csrf_exempt", False)} == NO_CSRF


GUEST_PAGES = [name for name in TABLE if name.startswith("guest:") and "token" in ALL[name].pattern.regex.groupindex]


@pytest.mark.parametrize("link", ["1", "S-1", "guessed", LINK[:-1], LINK.upper(), "..%2F" + LINK])
def test_no_link_no_session(site: Site, link: str) -> None:
    """A reference, a number or a guess opens nothing, and the answer tells nothing: the cookie is no permission."""
    for name in GUEST_PAGES:
        url = site.url(name).replace(LINK, link)
        answers = {site.ask(person, method, url) for person in PEOPLE for method in ("get", "post")}
        assert answers <= {"404", "405"}, name
    site.session.refresh_from_db()
    assert site.session.state == State.RUNNING


def test_a_guests_cookie_never_leads_to_somebody_elses_session(site: Site) -> None:
    page = site.browsers["guest"].get("/d/WASH1/")
    assert page.status_code == 200
    assert LINK not in page.content.decode()
    own = site.browsers["guest"].get("/d/WASH2/")
    assert (own.status_code, own["Location"]) == (303, f"/session/{FOREIGN_LINK}/")


def test_keys_and_links_are_on_no_page_and_operators_have_no_field_for_one(site: Site) -> None:
    """What people choose for themselves (their password) is not on the dashboard's own pages."""
    for name in (name for name in TABLE if name.startswith("dashboard:")):
        pages = {
            person: site.browsers[person].get(site.url(name)).content.decode(errors="replace") for person in PEOPLE
        }
        for secret in (KEY, STRIPE_KEY, LINK, PLANT_SECRET):
            assert not [person for person, html in pages.items() if secret in html], name
        for key_field in ('type="password"', 'name="auth_key"', 'name="app_secret"'):
            assert key_field not in pages["operator"], name
