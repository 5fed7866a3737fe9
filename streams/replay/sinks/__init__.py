"""Where the readings of a replay go. A module here that holds a subclass of :class:`Sink` is an option of `replay`.

Nothing else names it: the command line finds it, shows its help and checks that what it writes is not read
(docs/adding-a-replay-output.md).
"""

from __future__ import annotations

import enum
import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from salesgauge.metrics.kpis.families import Family, MetricSample, Type

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from salesgauge.streams.replay.virtual_clock import Evaluation

Take = Callable[["Evaluation"], None]
"""Takes the readings of an instant; instants come in order of time."""

REPLAYED = "salesgauge_replayed"
"""1 at each instant that a replay has written; boards mark where it is there."""


class OptionRole(enum.Enum):
    """What the value of an option is."""

    VALUE = enum.auto()
    READ = enum.auto()
    """A file that is read."""
    WRITTEN = enum.auto()
    """A file that is written: it must not be one that is read."""


@dataclass(frozen=True, slots=True)
class SinkOption:
    """An option of the command line; one without ``metavar`` takes no value."""

    flag: str
    help: str
    metavar: str = ""
    role: OptionRole = OptionRole.VALUE
    alone: bool = False
    """Whether the sink cannot go with others where this is given."""

    @property
    def name(self) -> str:
        """The flag as the name of a variable."""
        return self.flag.removeprefix("--").replace("-", "_")


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a sink may need to know of the run.

    Attributes:
        labels: further labels of every sample, such as ``job``.
        identity: equal for runs that compute the same.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""


class Sink(ABC):
    """An output of a replay.

    Args:
        given: the values of the sink's options that were given, by flag; that of ``option`` is among them.
        context: of the run.

    Raises:
        SalesgaugeError: a value is wrong.

    Attributes:
        option: asks for the sink.
        further: options that go with it.
    """

    option: ClassVar[SinkOption]
    further: ClassVar[tuple[SinkOption, ...]] = ()

    def __init_subclass__(cls) -> None:
        """See to it that a sink can be asked for.

        Raises:
            TypeError: it has no option, or one that is not written as ``--name``.
        """
        super().__init_subclass__()
        option = getattr(cls, "option", None)
        if not isinstance(option, SinkOption) or not option.flag.startswith("--"):
            raise TypeError(f"the sink {cls.__name__} needs `option = SinkOption('--name', 'what it does')`")

    def __init__(self, given: Mapping[str, str], context: SinkContext) -> None:
        self.target = given[self.option.flag]
        self.given = given
        self.context = context

    def arrived(self) -> int | None:
        """The instant (ms) up to which an earlier run has delivered everything; such a sink must be the only one."""
        return None

    def remains(self) -> str | None:
        """What to say of the sink where the run is interrupted; None where nothing remains."""
        return None

    @abstractmethod
    def open(self) -> AbstractContextManager[Take]:
        """What takes the readings. What a sink makes appears when the block ends well; otherwise nothing of it remains.

        Raises:
            SalesgaugeError: it cannot be written or delivered.
        """


@cache
def sink_types() -> tuple[type[Sink], ...]:
    """All sinks, by the names of their modules.

    Raises:
        TypeError: two of them have one option.
    """
    names = sorted(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
    found = [one for name in names for one in vars(importlib.import_module(name)).values() if _is_sink_of(name, one)]
    _check_unique([option.flag for sink in found for option in (sink.option, *sink.further)])
    return tuple(found)


def _is_sink_of(module: str, one: object) -> bool:
    return inspect.isclass(one) and issubclass(one, Sink) and one.__module__ == module


def _check_unique(flags: list[str]) -> None:
    twice = sorted({flag for flag in flags if flags.count(flag) > 1})
    if twice:
        raise TypeError(f"two sinks have the option {twice[0]}")


def samples_of(evaluation: Evaluation) -> list[Family]:
    """What Prometheus is given of an instant."""
    mark = Family(REPLAYED, Type.GAUGE, "1 where the values come from a replay.", [MetricSample(REPLAYED, {}, 1.0)])
    return [*evaluation.families, mark]
