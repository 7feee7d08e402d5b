"""The Modbus source: one block a second, the slow ones each half minute, and what is wrong in words.

The firmware is asked what it has: the version by its newest register, and each refused block is cut down on field
boundaries until the plant answers. What was learned is kept until the version changes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from devices.energy.balance import judge
from devices.energy.reading import Field, Fields, Measured, Reading
from devices.energy.sources.sigenergy_modbus.decoding import decode
from devices.energy.sources.sigenergy_modbus.line import Answered, Line, Mute, NoSuchRegister, connected
from devices.energy.sources.sigenergy_modbus.registers import (
    BEFORE_ALL_PROBES,
    ESSENTIAL,
    FAST,
    PLANT_UNIT,
    PROBES,
    SLOW,
    STATE_REGISTER,
    Block,
    car_block,
)
from devices.energy.sources.source import Deliver, Found, Malformed, Refused, SourceError, TooOld, Unreachable
from hygate import clock

log = logging.getLogger(__name__)
FAST_S = 1.0  # the protocol's minimum request period
SLOW_EVERY = 30  # rounds
TEST_WITHIN_S = 9.0
MISSES_ALLOWED = 2  # Wi-Fi time-outs are routine; the third in a row ends the connection
Sleep = Callable[[float], Awaitable[None]]
MISSING = {
    Field.GRID_IMPORT_LIMIT: "the import limit (V2.5): enter the connection's limit by hand",
    Field.THIRD_PARTY_PV: "PV of other makers (V2.7)",
    Field.METERS_LOST: "whether a meter is lost (V2.8)",
    Field.LOAD: "the total load (V2.8)",
}


@dataclass(frozen=True)
class ModbusSettings:
    """Where the plant is: ``unit`` 247 is the plant itself, ``inverter`` the unit whose DC charger may feed a car."""

    host: str
    port: int = 502
    unit: int = PLANT_UNIT
    inverter: int = 1


@dataclass
class _Memory:
    """What the firmware is known to have: each planned block and the parts that were answered in its stead."""

    version: str = ""
    parts: dict[Block, tuple[Block, ...]] = field(default_factory=dict)

    @property
    def lacks_essentials(self) -> bool:
        """Whether a part of the fast block was refused: also a plant that is starting does that for a while."""
        had = [register for part in self.parts.get(FAST, (FAST,)) for register in part.registers]
        return len(had) < len(FAST.registers)


class SigenergyModbus:
    """A ``Source``; made by ``build``. ``sleep`` is what waits between two rounds."""

    def __init__(self, settings: ModbusSettings, *, sleep: Sleep = asyncio.sleep) -> None:
        self._settings = settings
        self._sleep = sleep
        self._memory = _Memory()
        self._complaints: dict[Block, frozenset[str]] = {}
        self._slow = (*SLOW, car_block(settings.inverter))

    @property
    def version(self) -> str:
        """The oldest protocol version that the firmware can have; empty before the first connection."""
        return self._memory.version

    async def watch(self, deliver: Deliver) -> None:
        """Deliver each second what the plant says; raises ``SourceError`` when it no longer does."""
        async with connected(self._settings.host, self._settings.port) as line:
            await self._recognise(line)
            misses = 0
            for number in itertools.count():
                began = time.monotonic()
                try:
                    await self._round(line, number, deliver)
                    misses = 0
                except (Mute, Answered, Malformed):
                    misses += 1
                    if misses > MISSES_ALLOWED:
                        raise
                await self._sleep(max(0.0, FAST_S - (time.monotonic() - began)))

    async def test(self) -> Found:
        """Read everything once and say what was seen; raises ``SourceError``."""
        try:
            async with asyncio.timeout(TEST_WITHIN_S) as limit:
                reading, malformed = await self._look()
            if limit.expired():  # the Modbus client may keep the interruption to itself
                raise TimeoutError
        except TimeoutError as slow:
            raise Unreachable(
                f"The plant answers, but not all within {TEST_WITHIN_S:.0f} seconds.",
                "Look at its network (Wi-Fi), and close other Modbus clients.",
            ) from slow
        return Found(tuple(self._sentences(reading, malformed)), reading.fields)

    async def _look(self) -> tuple[Reading, list[Malformed]]:
        """One reading of everything, the fast block last, and what in it makes no sense."""
        async with connected(self._settings.host, self._settings.port) as line:
            await self._recognise(line)
            fields: dict[Field, Measured] = {}
            malformed: list[Malformed] = []
            for block in (*self._slow, FAST):
                news, wrong = await self._read(line, block)
                fields.update(news)
                malformed.extend(wrong)
        return Reading(fields), malformed

    # -- rounds
    async def _round(self, line: Line, number: int, deliver: Deliver) -> None:
        """The fast block, and in the first rounds of each half minute one slow block after it."""
        due = number % SLOW_EVERY
        blocks = (FAST, self._slow[due]) if due < len(self._slow) else (FAST,)
        for block in blocks:
            fields, malformed = await self._read(line, block)
            self._complain(block, malformed)
            await deliver(fields)

    def _complain(self, block: Block, malformed: tuple[Malformed, ...]) -> None:
        """One line in the log for each new nonsense, none for its repetition."""
        said = frozenset(str(wrong) for wrong in malformed)
        for sentence in sorted(said - self._complaints.get(block, frozenset())):
            log.warning("Sigenergy Modbus at %s: %s", self._settings.host, sentence)
        self._complaints[block] = said

    async def _read(self, line: Line, block: Block) -> tuple[Fields, tuple[Malformed, ...]]:
        """What the plant has of ``block``. What it refuses is remembered and not asked again."""
        fields: dict[Field, Measured] = {}
        malformed: list[Malformed] = []
        learned: list[Block] = []
        waiting = list(self._memory.parts.get(block, (block,)))
        while waiting:
            part = waiting.pop(0)
            try:
                words = await line.read(part.unit or self._settings.unit, part.address, part.count)
            except NoSuchRegister:
                waiting[:0] = part.narrower()
                continue
            except (Mute, Answered):
                if not part.optional:
                    raise
                continue
            decoded = decode(part, words, clock.now())
            fields.update(decoded.fields)
            malformed.extend(decoded.malformed)
            learned.append(part)
        self._memory.parts[block] = tuple(learned)
        return fields, tuple(malformed)

    # -- who answers
    async def _recognise(self, line: Line) -> None:
        """Make sure that it is a plant, and learn its version; a new one is asked for everything again."""
        await self._meet(line)
        version = await self._probe(line)
        if version != self._memory.version or self._memory.lacks_essentials:
            self._memory = _Memory(version)

    async def _meet(self, line: Line) -> None:
        unit = self._settings.unit
        try:
            await line.read(unit, STATE_REGISTER, 1)
        except NoSuchRegister as refused:
            if unit == PLANT_UNIT:
                raise TooOld("This firmware has no plant registers.", "Ask the installer for an update.") from refused
            raise self._wrong_unit(f"Unit {unit} answers, but it is not the plant.") from refused
        except (Mute, Answered) as silent:
            if unit != PLANT_UNIT and await _answers(line, PLANT_UNIT):
                raise self._wrong_unit(f"No plant answers as unit {unit}.") from silent
            raise

    @staticmethod
    def _wrong_unit(sentence: str) -> Refused:
        return Refused(sentence, f"Enter unit {PLANT_UNIT}: that is the plant in every installation.")

    async def _probe(self, line: Line) -> str:
        for probe in PROBES:
            try:
                await line.read(self._settings.unit, probe.address, probe.count)
            except NoSuchRegister:
                continue
            return probe.version
        return BEFORE_ALL_PROBES

    # -- words
    def _sentences(self, reading: Reading, malformed: list[Malformed]) -> list[str]:
        """What *Test connection* shows; raises ``TooOld`` when what everything needs is not there."""
        complaints = [wrong.sentence for wrong in malformed]
        lacking = [field for field in ESSENTIAL if reading[field] is None]
        no_sensor = reading.value(Field.GRID_SENSOR_OK) == 0
        if lacking and not no_sensor:
            if complaints:
                raise Malformed(" ".join(complaints), "Nothing is admitted on such numbers.")
            raise TooOld(f"The plant does not tell {', '.join(lacking)}.", "Ask the installer to update its firmware.")
        sentences = [f"The plant answers at {self._settings.host}; its firmware speaks protocol {self.version}."]
        sentences += [_seen(reading)] if not no_sensor else []
        sentences += [f"It does not tell {what}." for field, what in MISSING.items() if reading[field] is None]
        return [*sentences, *complaints, judge(reading).sentence]


async def _answers(line: Line, unit: int) -> bool:
    try:
        await line.read(unit, STATE_REGISTER, 1)
    except SourceError:
        return False
    return True


def _seen(reading: Reading) -> str:
    grid = reading.value(Field.GRID_IMPORT) or 0
    parts = [f"{'Importing' if grid >= 0 else 'Exporting'} {abs(grid)} W"]
    if (pv := reading.value(Field.PV)) is not None:
        parts.append(f"PV {pv} W")
    if (battery := reading.value(Field.BATTERY_CHARGE)) is not None:
        parts.append(f"battery {'charging' if battery >= 0 else 'discharging'} {abs(battery)} W")
    if (soc := reading.value(Field.SOC)) is not None:
        parts.append(f"charged to {soc} %")
    return ", ".join(parts) + "."


def build(settings: ModbusSettings) -> SigenergyModbus:
    """The source for these settings; nothing is connected yet."""
    return SigenergyModbus(settings)
