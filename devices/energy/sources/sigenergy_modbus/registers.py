"""The registers that Hygate reads, as data, and the blocks in which it asks for them.

Source: "Sigenergy Modbus Protocol" V1.7 to V2.9. The PDU address is the register number itself, words are big endian,
high word first. **Sign**: 30005 and 30052/54/56 are positive when the site buys, 30037 is positive while the battery
charges, 30015..30019 and 30031 are positive while the inverters feed the AC side, 31502 is negative while the car
discharges. Hygate's names have the same signs, so nothing is turned here. Powers are told in kW with gain 1000: the
raw number is watts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from devices.energy.reading import Field

PLANT_UNIT = 247
MOST_REGISTERS = 124
MOST_W = 1_000_000  # more at one connection point is a mistaken unit, not a power


class Kind(StrEnum):
    """How the words make a number."""

    U16 = "U16"
    S16 = "S16"
    U32 = "U32"
    S32 = "S32"

    @property
    def words(self) -> int:
        return 1 if self in (Kind.U16, Kind.S16) else 2


class Means(Enum):
    """What the raw number says; ``BOUNDS`` tells between which numbers it can be true."""

    POWER = auto()
    SUN = auto()
    LIMIT = auto()
    TENTHS_OF_PERCENT = auto()
    NUMBER = auto()
    ONE_IS_YES = auto()
    ZERO_IS_YES = auto()
    LOST_METERS = auto()  # bits 0 gateway, 1 meter, 2 AC power sensor


ANY_WORD = (0, 0xFFFF)
BOUNDS: dict[Means, tuple[int, int]] = {
    Means.POWER: (-MOST_W, MOST_W),
    Means.SUN: (-500, MOST_W),  # small negatives occur
    Means.LIMIT: (0, MOST_W),
    Means.TENTHS_OF_PERCENT: (0, 1000),
    Means.NUMBER: ANY_WORD,
    Means.ONE_IS_YES: ANY_WORD,
    Means.ZERO_IS_YES: ANY_WORD,
    Means.LOST_METERS: ANY_WORD,
}


@dataclass(frozen=True)
class Register:
    """One field of the map: ``absent`` are raw words (as one unsigned number) by which the plant says 'nothing'."""

    address: int
    kind: Kind
    field: Field
    means: Means
    absent: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        return self.address + self.kind.words


@dataclass(frozen=True)
class Block:
    """One request: ``count`` registers from ``address``, of which ``registers`` are wanted.

    ``unit``: None for the plant's own. ``optional``: nothing depends on it, so silence is remembered as 'not there'.
    """

    address: int
    count: int
    registers: tuple[Register, ...]
    unit: int | None = None
    optional: bool = False

    def narrower(self) -> tuple[Block, ...]:
        """What to ask instead when the plant refuses this: the wanted part, then its halves, then nothing.

        Each part starts and ends on a field boundary, as the plant demands.
        """
        tight = self._of(self.registers)
        if tight != self:
            return (tight,)
        middle = len(self.registers) // 2
        if middle == 0:
            return ()
        return (self._of(self.registers[:middle]), self._of(self.registers[middle:]))

    def _of(self, registers: tuple[Register, ...]) -> Block:
        first, last = registers[0], registers[-1]
        return Block(first.address, last.end - first.address, registers, self.unit, self.optional)


NOTHING_32 = (0xFFFFFFFF,)
# a signed −1 W is a value, but at the grid point it would hide a phase that is not delivered
NOTHING_GRID = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NOTHING_SIGNED = (0x7FFFFFFF, 0x80000000)
NOTHING_16 = (0xFFFF,)


def _power(address: int, field: Field, means: Means = Means.POWER) -> Register:
    return Register(address, Kind.S32, field, means, NOTHING_SIGNED)


def _grid(address: int, field: Field) -> Register:
    return Register(address, Kind.S32, field, Means.POWER, NOTHING_GRID)


def _limit(address: int, field: Field) -> Register:
    return Register(address, Kind.U32, field, Means.LIMIT, NOTHING_32)


def _word(address: int, field: Field, means: Means) -> Register:
    return Register(address, Kind.U16, field, means, NOTHING_16)


FAST = Block(
    30000,
    124,
    (
        _word(30003, Field.EMS_MODE, Means.NUMBER),
        _word(30004, Field.GRID_SENSOR_OK, Means.ONE_IS_YES),
        _grid(30005, Field.GRID_IMPORT),
        _word(30009, Field.ON_GRID, Means.ZERO_IS_YES),
        _limit(30010, Field.INVERTER_MAX),
        _word(30014, Field.SOC, Means.TENTHS_OF_PERCENT),
        _power(30015, Field.INVERTER_AC_L1),
        _power(30017, Field.INVERTER_AC_L2),
        _power(30019, Field.INVERTER_AC_L3),
        _power(30031, Field.INVERTER_AC),
        _power(30035, Field.PV, Means.SUN),
        _power(30037, Field.BATTERY_CHARGE),
        _limit(30039, Field.INVERTER_AVAILABLE),
        _limit(30049, Field.BATTERY_MAX_DISCHARGE),
        _word(30051, Field.RUNNING, Means.ONE_IS_YES),
        _grid(30052, Field.GRID_IMPORT_L1),
        _grid(30054, Field.GRID_IMPORT_L2),
        _grid(30056, Field.GRID_IMPORT_L3),
    ),
)
ALARMS_AND_LOAD = Block(
    30200,
    87,
    (_word(30280, Field.METERS_LOST, Means.LOST_METERS), _power(30284, Field.LOAD)),
)
OTHER_PV = Block(30194, 2, (_power(30194, Field.THIRD_PARTY_PV, Means.SUN),))
LIMITS = Block(
    40029,
    40,
    (
        _limit(40034, Field.BATTERY_DISCHARGE_LIMIT),
        _limit(40040, Field.GRID_IMPORT_LIMIT),
        _word(40046, Field.BACKUP_SOC, Means.TENTHS_OF_PERCENT),
        _word(40048, Field.DISCHARGE_CUT_OFF_SOC, Means.TENTHS_OF_PERCENT),
    ),
)
SLOW = (ALARMS_AND_LOAD, OTHER_PV, LIMITS)


def car_block(inverter_unit: int) -> Block:
    """The DC charger behind the inverter with this unit id."""
    return Block(31502, 2, (_power(31502, Field.CAR_CHARGE),), inverter_unit, optional=True)


@dataclass(frozen=True)
class Probe:
    """A register that came with a version of the protocol: what answers it speaks that version or a later one."""

    version: str
    address: int
    count: int


PROBES = (
    Probe("V2.9", 30272, 2),
    Probe("V2.8", 30284, 2),
    Probe("V2.7", 30194, 2),
    Probe("V2.6", 30092, 2),
    Probe("V2.5", 30087, 1),
)
BEFORE_ALL_PROBES = "V2.4 or older"
STATE_REGISTER = 30051  # one word that every version has
GRID_FIELDS = (Field.GRID_IMPORT, Field.GRID_IMPORT_L1, Field.GRID_IMPORT_L2, Field.GRID_IMPORT_L3)
ESSENTIAL = (Field.GRID_IMPORT, Field.GRID_SENSOR_OK, Field.RUNNING, Field.ON_GRID)
