"""One settings file for everything; what differs between sites comes from the environment (see ``hygate.env``).

``HYGATE_SIMULATED=1`` points Hygate at its simulators and needs nothing else; a real site sets its own keys. With
neither, Hygate refuses to start. ``DEBUG`` is off everywhere unless ``HYGATE_DEBUG=1``.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from hygate import env, logs, numbers

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("HYGATE_VAR_DIR", str(BASE_DIR / "var")))
with suppress(OSError):  # where it cannot be made, whoever needs it (the demo, the database, beat) says so itself
    VAR_DIR.mkdir(parents=True, exist_ok=True)

# -- who we are
SIMULATED = env.flag("HYGATE_SIMULATED")
DEBUG = env.flag("HYGATE_DEBUG")
PORT = env.whole("PORT", 8000, least=1, most=65535)
BASE_URL = env.text("HYGATE_BASE_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
NUMBERS = numbers.from_environment()
# what follows when a relay goes off by itself in a paid session: on again (twice at most), or the rest paid back
PREMATURE_OFF = env.one_of("HYGATE_PREMATURE_OFF", "re_on", ("re_on", "refund"))

DEMO_SECRET_KEY = "simulated-only-" + "0" * 50
DEMO_FIELD_KEY = "c2ltdWxhdGVkLW9ubHktc2ltdWxhdGVkLW9ubHktMTI="
SECRET_KEY = env.text("HYGATE_SECRET_KEY", DEMO_SECRET_KEY if SIMULATED else "")
FIELD_KEYS = env.words("HYGATE_FIELD_KEYS", DEMO_FIELD_KEY if SIMULATED else "")
if not SECRET_KEY or not FIELD_KEYS:
    raise ImproperlyConfigured(
        "Hygate is not configured. Set HYGATE_SECRET_KEY and HYGATE_FIELD_KEYS for a real site (see README.md),"
        " or try everything without accounts, hardware or money: make demo"
    )
AUDIT_KEY = env.text("HYGATE_AUDIT_KEY") or SECRET_KEY
ALLOWED_HOSTS = env.words("HYGATE_ALLOWED_HOSTS", urlsplit(BASE_URL).hostname or "127.0.0.1")
if SIMULATED:
    ALLOWED_HOSTS = [*ALLOWED_HOSTS, "localhost"]
CSRF_TRUSTED_ORIGINS = [BASE_URL]
CSRF_FAILURE_VIEW = "hygate.mishaps.form_refused"
BEHIND_PROXY = env.flag("HYGATE_BEHIND_PROXY")
SECURE = BASE_URL.startswith("https://")

# -- the services
SIM_SHELLY_PORT = env.whole("HYGATE_SIM_SHELLY_PORT", 8101, least=1, most=65535)
SIM_STRIPE_PORT = env.whole("HYGATE_SIM_STRIPE_PORT", 8102, least=1, most=65535)
SIM_SIGENERGY_PORT = env.whole("HYGATE_SIM_SIGENERGY_PORT", 8103, least=1, most=65535)
SIM_RENOGY_PORT = env.whole("HYGATE_SIM_RENOGY_PORT", 8104, least=1, most=65535)
SIM_MODBUS_PORT = env.whole("HYGATE_SIM_MODBUS_PORT", 8502, least=1, most=65535)
SIM_MQTT_PORT = env.whole("HYGATE_SIM_MQTT_PORT", 8883, least=1, most=65535)
STRIPE_API_BASE = env.text("HYGATE_STRIPE_API_BASE", f"http://127.0.0.1:{SIM_STRIPE_PORT}" if SIMULATED else "")
STRIPE_KEY = env.text("HYGATE_STRIPE_KEY", "sk_test_simulated" if SIMULATED else "")
STRIPE_TEST_OK = env.flag("HYGATE_STRIPE_TEST_OK")
STRIPE_WEBHOOK_SECRETS = env.words("HYGATE_STRIPE_WEBHOOK_SECRETS", "whsec_demo" if SIMULATED else "")
SHELLY_HOSTS = env.words("HYGATE_SHELLY_HOSTS")
SHELLY_DEFAULT_URL = env.text(
    "HYGATE_SHELLY_URL",
    f"http://127.0.0.1:{SIM_SHELLY_PORT}" if SIMULATED else "https://shelly-103-eu.shelly.cloud",
)

# -- mail: alerts and forgotten passwords; a simulation prints them
SMTP_HOST = "" if SIMULATED else env.text("HYGATE_SMTP_HOST")
SENDS_MAIL = SIMULATED or bool(SMTP_HOST)
_MAIL_BACKEND = "console" if SIMULATED else "smtp" if SMTP_HOST else "dummy"
EMAIL_BACKEND = f"django.core.mail.backends.{_MAIL_BACKEND}.EmailBackend"
EMAIL_HOST = SMTP_HOST
EMAIL_PORT = env.whole("HYGATE_SMTP_PORT", 587, least=1, most=65535)
EMAIL_HOST_USER = env.text("HYGATE_SMTP_USER")
EMAIL_HOST_PASSWORD = env.text("HYGATE_SMTP_PASSWORD")
EMAIL_USE_SSL, EMAIL_USE_TLS = EMAIL_PORT == 465, EMAIL_PORT == 587
EMAIL_TIMEOUT = NUMBERS.mail_timeout_s
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("HYGATE_SMTP_FROM", f"hygate@{urlsplit(BASE_URL).hostname or 'localhost'}")

# -- Django
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "hygate.apps.HygateConfig",
    "devices.apps.DevicesConfig",
    "sessions_app.apps.SessionsConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "hygate.statics.Statics",
    "sessions_app.guest.asked_again.AskedAgain",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "sessions_app.guest.language.GuestLanguage",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "hygate.accounts.NewPasswordFirst",
    "hygate.second_factor.SecondFactorFirst",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "hygate.trying_again.SayUnavailable",
    "sessions_app.dashboard.modules.SwitchedOff",
    "sessions_app.guest.guessing.SlowGuessing",
]
ROOT_URLCONF = "hygate.urls"
WSGI_APPLICATION = "hygate.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "hygate.context.site",
            ],
        },
    }
]
AUTH_USER_MODEL = "hygate.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "hygate.accounts.StaffAdapter"
ACCOUNT_FORMS = {
    "login": "hygate.login_forms.LoginForm",
    "change_password": "hygate.login_forms.ChangePasswordForm",
}
ACCOUNT_LOGOUT_REDIRECT_URL = "/dashboard/"
ACCOUNT_RATE_LIMITS = False  # hygate.logins counts: allauth counts by account alone, which locks its owner out
MFA_ADAPTER = "hygate.accounts.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_ALLOW_UNVERIFIED_EMAIL = True  # addresses are typed by an administrator; nothing is mailed
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if BEHIND_PROXY else 0
LOGIN_URL = "/account/login/"
LOGIN_REDIRECT_URL = "/dashboard/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
# each in its own words: guests choose from this list
LANGUAGES = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("fr", "Français"),
    ("it", "Italiano"),
    ("es", "Español"),
    ("nl", "Nederlands"),
]
LANGUAGE_COOKIE_NAME = "hygate_language"
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "hygate" / "static"]
STATIC_ROOT = None  # whitenoise serves from the apps themselves; nothing is collected
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CHECKOUT_ORIGINS = [STRIPE_API_BASE] if SIMULATED else ["https://checkout.stripe.com"]
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF, *CHECKOUT_ORIGINS],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

# -- the database: SQLite carries the small site, PostgreSQL the rest; both run the same code
DATABASE_URL = env.text("DATABASE_URL", f"sqlite:///{VAR_DIR / 'hygate.sqlite3'}")
DATABASES: dict[str, Any] = {"default": dj_database_url.parse(DATABASE_URL)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
    # a file, as in service: an SQLite in memory locks differently, and the concurrency tests would test nothing
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
else:
    DATABASES["default"]["ENGINE"] = "hygate.postgresql"
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    if env.flag("HYGATE_KEEP_PLANS", default=True):
        # a wide query takes the server ten times longer to plan than to answer (ADR 0018)
        keep_plans = {"server_side_binding": True, "prepare_threshold": 2}
        DATABASES["default"]["OPTIONS"] = DATABASES["default"].get("OPTIONS", {}) | keep_plans
# a connection stays as long as its thread: on PostgreSQL a new one costs as much as a page's queries together
DATABASES["default"]["CONN_MAX_AGE"] = None

# -- the cache counts login attempts for all web processes: a table, so that no site needs another service for it
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "hygate_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

# -- the broker lends threads; an empty BROKER_URL means that the workers' own sweep does everything
BROKER_URL = env.text("BROKER_URL", "")
CELERY_BROKER_URL = BROKER_URL or "memory://"
if urlsplit(BROKER_URL).scheme in ("redis", "rediss"):
    CELERY_BROKER_TRANSPORT = "hygate.broker:Transport"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 120,
    "socket_timeout": 5,
    "socket_connect_timeout": 1,
    "max_retries": 0,
}
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "clock"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "hygate.sweep",
        "schedule": timedelta(seconds=NUMBERS.sweep_s),
        "options": {"queue": "clock"},
    }
}

DEFAULT_EXCEPTION_REPORTER = "hygate.error_report.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "hygate.error_report.SecretsFilter"
LOGGING = logs.configuration(level=env.text("HYGATE_LOG_LEVEL", "INFO").upper())
