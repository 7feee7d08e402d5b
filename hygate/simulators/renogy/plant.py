"""What a Renogy hub and its devices say: the plain, untidy shapes of the real service, and a plant for the demo.

Values travel as they do in the real one: currents in mA under whatever unit the datamap claims, nulls, keys that differ
from product to product, and no time stamp anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DEMO_ACCESS_KEY = "demo-renogy-key"
DEMO_SECRET_KEY = "demo-renogy-secret"  # noqa: S105 - opens nothing but the simulator
ADDED_MS = 1_733_000_000_000

BATTERY_MAP = (
    ("batteryLevel", "%", 0, 100),
    ("maximumCapacity", "Ah", 0.1, 10_000),
    ("presentCapacity", "Ah", 0, 10_000),
    ("presentVolts", "V", 0, 1_000),
    ("presentAmps", "mA", -1_000_000, 1_000_000),
    ("averageTemperature", "°C", None, None),
)
CONTROLLER_MAP = (
    ("soc", "%", 0, 1_000),
    ("solarWatts", "W", 0, 10_000),
    ("solarChargingVolts", "V", 0, 1_000),
    ("solarChargingAmps", "A", -1_000_000, 1_000_000),
    ("loadWatts", "W", None, None),
    ("gridChargeAmps", "mA", -1_000_000, 1_000_000),
    ("totalKwhGenerated", "KWh", None, None),
    ("batteryType", "", None, None),
)
INVERTER_MAP = (
    ("outputVolts", "V", 0, 500),
    ("outputAmps", "A", -1_000_000, 1_000_000),  # the unit the real one claims; the values are mA
    ("loadActiveWatts", "W", 0, 10_000),
    ("solarWatts", "W", 0, 10_000),
    ("batteryVolts", "V", 0, 500),
    ("temperature", "°C", -40, 85),
    ("output", "", None, None),
)


@dataclass
class PlantDevice:
    """One device of an account; ``parent`` is the id of its hub, "" for a hub itself."""

    id: str
    category: str
    name: str
    sku: str = ""
    parent: str = ""
    connect_type: str | None = "rs485"
    online: bool = True
    latest: dict[str, Any] = field(default_factory=dict)
    datamap: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)

    def listed(self) -> dict[str, Any]:
        """Its row in ``/device/list``, with the holes of the real one: no serial number of a sub-device, odd MACs."""
        row: dict[str, Any] = {
            "deviceId": self.id,
            "sn": "" if self.parent else f"SN{self.id}",
            "sku": self.sku,
            "name": self.name,
            "category": self.category,
            "mac": self.id[-2:] if self.parent else "02:00:00:00:00:01",
            "firmware": "" if self.parent else "V1.1.157",
            "onlineStatus": "online" if self.online else "offline",
            "addTime": ADDED_MS,
        }
        if self.connect_type is not None:
            row["connectType"] = self.connect_type
        return row


def datamap(rows: tuple[tuple[str, str, float | None, float | None], ...]) -> list[dict[str, Any]]:
    """A data dictionary as ``/device/datamap`` gives it; a row without bounds has no ``max`` and ``min``."""
    made: list[dict[str, Any]] = []
    for name, unit, least, most in rows:
        row: dict[str, Any] = {"name": name, "type": "float", "operation": "RO", "length": 4, "unit": unit, "desc": ""}
        made.append(row if most is None else {**row, "max": most, "min": least})
    return made


def battery(id: str, parent: str, *, level: float, volts: float, milliamps: float, capacity_ah: float) -> PlantDevice:
    """``milliamps``: negative while it discharges."""
    latest = {
        "batteryLevel": level,
        "maximumCapacity": capacity_ah,
        "presentCapacity": round(capacity_ah * level / 100, 6),
        "presentVolts": volts,
        "presentAmps": milliamps,
        "averageTemperature": None,
        "sku": "SIM-LFP12",
    }
    return PlantDevice(id, "Battery", f"Battery {id}", "SIM-LFP12", parent, latest=latest, datamap=datamap(BATTERY_MAP))


def controller(id: str, parent: str, *, solar_w: float, soc: float = 100) -> PlantDevice:
    """A charge controller. Its ``soc`` is a guess by voltage and often far from what the batteries count."""
    latest = {
        "soc": soc,
        "solarWatts": solar_w,
        "solarChargingVolts": 36.0,
        "solarChargingAmps": round(solar_w / 36.0 * 1000, 1),
        "loadWatts": 0,
        "gridChargeAmps": 0.0,
        "totalKwhGenerated": 612_004.5,
        "batteryType": 3084,
        "auxiliaryBatteryTemperature": -3276.800049,
        "status": None,
        "sku": "SIM-CTRL40",
    }
    return PlantDevice(
        id, "Controller", "SIM-CTRL40", "SIM-CTRL40", parent, "bt", latest=latest, datamap=datamap(CONTROLLER_MAP)
    )


def inverter(id: str, parent: str, *, ac_w: int, volts: float = 230.0) -> PlantDevice:
    """``ac_w``: what it feeds into its AC side."""
    latest = {
        "outputVolts": volts,
        "outputAmps": round(ac_w / volts * 1000, 1),
        "loadActiveWatts": ac_w,
        "loadWatts": None,
        "solarWatts": None,
        "batteryVolts": 13.1,
        "temperature": 24.0,
        "output": 1,
        "sku": "SIM-INV2000",
    }
    return PlantDevice(id, "Inverter", "Inverter", "SIM-INV2000", parent, latest=latest, datamap=datamap(INVERTER_MAP))


def hub(id: str) -> PlantDevice:
    name = "Renogy ONE Core"
    return PlantDevice(id, name, name, "SIM-ONE", connect_type="", latest={"batteryType": 4})


def demo_plant() -> list[PlantDevice]:
    """A camper site on a sunny noon: 640 W of sun, 180 W of AC load, both batteries charging."""
    return [
        hub("9000000001"),
        inverter("90000000011", "9000000001", ac_w=180),
        controller("90000000012", "9000000001", solar_w=640.0),
        battery("90000000013", "9000000001", level=78.25, volts=13.4, milliamps=16_500.0, capacity_ah=200.0),
        battery("90000000014", "9000000001", level=74.5, volts=13.4, milliamps=15_800.0, capacity_ah=100.0),
    ]
