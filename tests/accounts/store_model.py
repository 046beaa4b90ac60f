"""What a store was told of one account in one Region, and the facts that come of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from libs.common.instants import Micros, to_datetime
from services.accounts.facts import (
    DESCRIBE_LAG,
    Attributes,
    Event,
    EventKind,
    InstanceFacts,
    Sighting,
    Source,
    Statement,
    TrackingGap,
)


class Licence(NamedTuple):
    """A usage operation, and since when it holds; 0: since what states it."""

    usage_operation: str = ""
    since: Micros = 0


class TellableEvent(NamedTuple):
    """An event as it is told."""

    event: Event
    licence: Licence = Licence()


class Shown(NamedTuple):
    """An instance as a listing shows it."""

    launch_time: Micros
    running: bool
    instance_type: str = ""
    vcpu: int = 0
    licence: Licence = Licence()

    def on(self) -> Event:
        """Give the power-on that describe tells of with it."""
        event_id = f"describe:power_on:{self.launch_time}"
        return Event(event_id, EventKind.POWER_ON, self.launch_time, Source.DESCRIBE, fresh=True)

    def attributes(self) -> Attributes:
        """Give what it states: of a session no licence that came to hold only later."""
        operation, since = self.licence
        later = self.running and since > self.launch_time
        return Attributes(self.instance_type, self.vcpu, "" if later else operation)


NOT_THERE = Shown(0, running=False)


@dataclass
class Told:
    """Everything that a store was told, in whatever order."""

    events: dict[tuple[str, str], TellableEvent] = field(default_factory=dict)
    listings: dict[Micros, dict[str, Shown | None]] = field(default_factory=dict)
    """By their start. None: the instance is there, and nothing else of it was understood."""
    incomplete: set[Micros] = field(default_factory=set)
    """Listings in which not even an instance's id was understood: they lack nothing."""
    gaps: list[tuple[Micros, Micros]] = field(default_factory=list)

    def tell(self, ec2_id: str, each: TellableEvent) -> None:
        """Note an event; the same id always has the same content."""
        self.events[ec2_id, each.event.event_id] = each

    def show(self, started: Micros, shown: dict[str, Shown | None], *, complete: bool) -> None:
        """Note a listing."""
        self.listings[started] = shown
        if not complete:
            self.incomplete.add(started)

    def end_tracking(self, at: Micros) -> None:
        """Note that the account is no longer watched."""
        self.gaps.append((at, 0))

    def resume_tracking(self, at: Micros) -> None:
        """Note that it is watched again."""
        self.gaps[-1] = (self.gaps[-1][0], at)

    def facts(self, ec2_id: str) -> InstanceFacts:
        """Return all facts of an instance."""
        complete = sorted(self.listings.keys() - self.incomplete)
        unread = {x for x in complete if self.listings[x].get(ec2_id, NOT_THERE) is None}
        segments = list(self._segments(ec2_id))
        return InstanceFacts(
            list(self._events(ec2_id)),
            [
                Sighting(each.launch_time, first, last, each.attributes())
                for each, first, last in segments
                if each.running
            ],
            [
                Statement(first, last, each.attributes())
                for each, first, last in segments
                if not each.running
            ],
            [x for x in complete if x not in unread],
            [
                TrackingGap(
                    ended, resumed, last - DESCRIBE_LAG if last and last not in unread else 0
                )
                for ended, resumed in self.gaps
                for last in [max((x for x in complete if x <= ended), default=0)]
            ],
        )

    def _events(self, ec2_id: str) -> Iterator[Event]:
        told = [each for (id_, _), each in self.events.items() if id_ == ec2_id]
        for event, (operation, since) in told:
            stated = event.attributes if since > event.occurred_at else None
            yield (
                event._replace(attributes=replace(stated, usage_operation="")) if stated else event
            )
            if operation and since not in {0, event.occurred_at}:
                yield Event(
                    f"{event.event_id}#usage_operation",
                    EventKind.ATTRIBUTE_CHANGE,
                    since,
                    event.source,
                    attributes=Attributes(usage_operation=operation),
                )
        described: dict[str, Event] = {}
        for shown in self.listings.values():
            each = shown.get(ec2_id)
            if each is not None:
                described[each.on().event_id] = each.on()
                operation, since = each.licence
                if operation and since not in {0, each.launch_time}:
                    moment = to_datetime(since).isoformat(timespec="microseconds")
                    id_ = f"describe:attribute_change:{moment.replace('+00:00', 'Z')}"
                    stated = Attributes(usage_operation=operation)
                    described[id_] = Event(
                        id_, EventKind.ATTRIBUTE_CHANGE, since, Source.DESCRIBE, attributes=stated
                    )
        yield from described.values()

    def _segments(self, ec2_id: str) -> Iterator[tuple[Shown, Micros, Micros]]:
        """Give what was shown, each with the listings that showed it without another between."""
        first, before, last = 0, None, 0
        for started in [*sorted(self.listings), 0]:
            each = self.listings[started].get(ec2_id) if started else None
            if each is None or each != before:
                if before is not None:
                    yield before, first, last
                first, before = started, each
            last = started
