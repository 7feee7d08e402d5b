"""The plant's registers as the vendor's protocol lists them, each with what the simulated plant says there.

Source: "Sigenergy Modbus Protocol" V1.7 to V2.9. Powers are told in kW with gain 1000, so the raw number is watts.
``value`` None: the firmware has the register and says nothing of interest in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hygate.simulators.sigenergy.plant import Flows, Knobs

Value = Callable[[Flows, Knobs], int]
NOT_VALID = 0xFFFFFFFF
SHARED_COUNTERS = 24


@dataclass(frozen=True)
class Register:
    """``since``: the first protocol version. ``reserved``: refused on its own, zero inside a larger block."""

    address: int
    count: int
    since: str
    value: Value | None = None
    reserved: bool = False

    @property
    def end(self) -> int:
        return self.address + self.count

    def words(self, flows: Flows, knobs: Knobs) -> list[int]:
        """The number as big-endian words, two's complement where it is negative."""
        raw = 0 if self.value is None else self.value(flows, knobs)
        bits = 16 * self.count
        raw &= (1 << bits) - 1
        return [raw >> shift & 0xFFFF for shift in range(bits - 16, -1, -16)]


def _zeros(first: int, count: int, width: int, since: str) -> list[Register]:
    return [Register(first + at * width, width, since) for at in range(count)]


def _gap(address: int, count: int, since: str) -> Register:
    return Register(address, count, since, reserved=True)


def _merged_alarm_6(flows: Flows, _knobs: Knobs) -> int:
    return flows.meters_lost


PLANT_INPUT: Sequence[Register] = (
    Register(30000, 2, "V1.7", lambda f, _: int(f.at)),
    Register(30002, 1, "V1.7"),
    Register(30003, 1, "V1.7", lambda f, _: f.ems_mode),
    Register(30004, 1, "V1.7", lambda f, _: f.grid_sensor_ok),
    Register(30005, 2, "V1.7", lambda f, _: f.grid_import_w),
    Register(30007, 2, "V1.7"),
    Register(30009, 1, "V1.7", lambda f, _: 1 - f.on_grid),
    Register(30010, 2, "V1.7", lambda f, _: f.inverter_max_w),
    Register(30012, 2, "V1.7", lambda f, _: f.inverter_max_w),
    Register(30014, 1, "V1.7", lambda f, _: round(f.soc_pct * 10)),
    Register(30015, 2, "V1.7", lambda f, _: f.inverter_ac_l1_w),
    Register(30017, 2, "V1.7", lambda f, _: f.inverter_ac_l2_w),
    Register(30019, 2, "V1.7", lambda f, _: f.inverter_ac_l3_w),
    *_zeros(30021, 3, 2, "V1.7"),
    *_zeros(30027, 4, 1, "V1.7"),
    Register(30031, 2, "V1.7", lambda f, _: f.inverter_ac_w),
    Register(30033, 2, "V1.7"),
    Register(30035, 2, "V1.7", lambda f, _: f.pv_w),
    Register(30037, 2, "V1.7", lambda f, _: f.battery_charge_w),
    Register(30039, 2, "V1.7", lambda f, _: f.inverter_available_w),
    Register(30041, 2, "V1.7", lambda f, _: f.inverter_available_w),
    *_zeros(30043, 2, 2, "V1.7"),
    Register(30047, 2, "V1.7", lambda f, _: f.battery_max_charge_w),
    Register(30049, 2, "V1.7", lambda f, _: f.battery_max_discharge_w),
    Register(30051, 1, "V1.7", lambda f, _: f.running_state),
    Register(30052, 2, "V1.7", lambda f, _: f.grid_import_l1_w),
    Register(30054, 2, "V1.7", lambda f, _: f.grid_import_l2_w),
    Register(30056, 2, "V1.7", lambda f, _: f.grid_import_l3_w),
    *_zeros(30058, 3, 2, "V1.7"),
    Register(30064, 2, "V1.7", lambda f, k: round(k.capacity_wh * (100 - f.soc_pct) / 1000)),
    Register(30066, 2, "V1.7", lambda f, k: round(k.capacity_wh * f.soc_pct / 1000)),
    Register(30068, 2, "V1.7", lambda f, _: f.battery_max_charge_w),
    Register(30070, 2, "V1.7", lambda f, _: f.battery_discharge_limit_w),
    Register(30072, 1, "V2.4"),
    _gap(30073, 10, "V2.4"),
    Register(30083, 2, "V2.5", lambda _, k: k.capacity_wh // 10),
    *_zeros(30085, 3, 1, "V2.5"),
    Register(30088, 4, "V2.6"),
    Register(30092, 2, "V2.6"),
    Register(30094, 4, "V2.6"),
    *_zeros(30098, SHARED_COUNTERS, 2, "V2.6"),
    *_zeros(30146, SHARED_COUNTERS, 2, "V2.6"),
    Register(30194, 2, "V2.7", lambda f, _: f.third_party_pv_w),
    Register(30196, 4, "V2.7"),
    *_zeros(30200, 7, 4, "V2.7"),
    _gap(30228, 32, "V2.7"),
    *_zeros(30260, 2, 4, "V2.7"),
    _gap(30268, 4, "V2.7"),
    *_zeros(30272, 2, 2, "V2.9"),
    Register(30276, 1, "V2.8", lambda _f, _k: 5000),
    Register(30277, 2, "V2.8", lambda _f, _k: 40000),
    Register(30279, 1, "V2.8"),
    Register(30280, 1, "V2.8", _merged_alarm_6),
    Register(30281, 1, "V2.8"),
    Register(30282, 2, "V2.8", lambda f, _: f.load_w),
    Register(30284, 2, "V2.8", lambda f, _: f.load_w),
    Register(30286, 1, "V2.9", lambda _f, _k: 250),
)

REMOTE_EMS = 40029
PLANT_HOLDING: Sequence[Register] = (
    Register(40000, 1, "V1.7"),
    Register(40001, 2, "V1.7"),
    Register(REMOTE_EMS, 1, "V1.7"),
    Register(40030, 1, "V1.7"),
    Register(40031, 1, "V1.7"),
    Register(40032, 2, "V1.7", lambda f, _: f.battery_max_charge_w),
    Register(40034, 2, "V1.7", lambda f, _: f.battery_discharge_limit_w),
    Register(40036, 2, "V1.7"),
    Register(40038, 2, "V2.5", lambda f, _: f.grid_export_limit_w),
    Register(40040, 2, "V2.5", lambda f, _: f.grid_import_limit_w),
    Register(40042, 2, "V2.5", lambda _f, _k: NOT_VALID),
    Register(40044, 2, "V2.5", lambda _f, _k: NOT_VALID),
    Register(40046, 1, "V2.6", lambda f, _: round(f.backup_soc_pct * 10)),
    Register(40047, 1, "V2.6", lambda _f, _k: 1000),
    Register(40048, 1, "V2.6", lambda f, _: round(f.discharge_cut_off_soc_pct * 10)),
    Register(40049, 2, "V2.8"),
    _gap(40051, 18, "V2.8"),
)
NEEDS_REMOTE_EMS = (40001, 40030, 40031, 40032, 40034, 40036)
LIMITS = {
    40034: "battery_discharge_limit_w",
    40038: "grid_export_limit_w",
    40040: "grid_import_limit_w",
}  # writing one changes the plant's knob

INVERTER: Sequence[Register] = (
    Register(30500, 15, "V1.7"),
    Register(30515, 10, "V1.7"),
    Register(30525, 15, "V1.7"),
    Register(30540, 2, "V1.7", lambda f, _: f.inverter_max_w),
    Register(30542, 2, "V1.7", lambda f, _: f.inverter_max_w),
    Register(30544, 2, "V1.7", lambda f, _: f.inverter_max_w),
    Register(30546, 2, "V1.7", lambda f, _: f.inverter_max_w),
    Register(30548, 2, "V1.7", lambda _, k: k.capacity_wh // 10),
    Register(30550, 2, "V1.7", lambda f, _: f.battery_max_charge_w),
    Register(30552, 2, "V1.7", lambda f, _: f.battery_discharge_limit_w),
    _gap(30554, 24, "V1.7"),
    Register(30578, 1, "V1.7", lambda f, _: f.running_state),
    _gap(30579, 8, "V1.7"),
    Register(30587, 2, "V1.7", lambda f, _: f.inverter_ac_w),
    Register(30589, 2, "V1.7"),
    Register(30591, 2, "V1.7", lambda f, _: f.battery_max_charge_w),
    Register(30593, 2, "V1.7", lambda f, _: f.battery_max_discharge_w),
    _gap(30595, 4, "V1.7"),
    Register(30599, 2, "V1.7", lambda f, _: f.battery_charge_w),
    Register(30601, 1, "V1.7", lambda f, _: round(f.soc_pct * 10)),
    _gap(30602, 22, "V1.7"),
    Register(31000, 1, "V1.7", lambda _f, _k: 4000),
    *(Register(address, 1, "V1.7", lambda _f, _k: 5000) for address in (31001, 31002)),
    _gap(31003, 1, "V1.7"),
    Register(31004, 1, "V1.7", lambda _f, _k: 2),
    _gap(31005, 6, "V1.7"),
    Register(31011, 2, "V1.7", lambda _f, _k: 23000),
    Register(31013, 2, "V1.7", lambda _f, _k: 23000),
    Register(31015, 2, "V1.7", lambda _f, _k: 23000),
    Register(31017, 2, "V1.7", lambda f, _: round(f.inverter_ac_l1_w * 100 / 230)),
    Register(31019, 2, "V1.7", lambda f, _: round(f.inverter_ac_l2_w * 100 / 230)),
    Register(31021, 2, "V1.7", lambda f, _: round(f.inverter_ac_l3_w * 100 / 230)),
    Register(31023, 1, "V1.7", lambda _f, _k: 1000),
    *_zeros(31024, 3, 1, "V1.7"),
    _gap(31027, 8, "V1.7"),
    Register(31035, 2, "V1.7", lambda f, _: f.pv_w),
    _gap(31037, 69, "V1.7"),
    *_zeros(31500, 2, 1, "V1.7"),
    Register(31502, 2, "V1.7", lambda f, _: f.car_charge_w),
    Register(31504, 1, "V1.7", lambda _f, _k: 600),
    *_zeros(31505, 2, 2, "V1.7"),
    *_zeros(31509, 2, 2, "V2.6"),
    Register(31513, 1, "V2.8", lambda f, _: 3 if f.car_charge_w > 0 else 8 if f.car_charge_w < 0 else 0),
)
