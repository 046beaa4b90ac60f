"""Made-up facts of one instance, crowded into an hour so that they meet and contradict."""

from hypothesis import strategies as st

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

TICK = 10_000_000
"""Ten seconds: three of them are the same start, thirty are describe's lag."""

ticks = st.integers(1, 240)
instants = ticks.map(lambda tick: tick * TICK)
attributes = st.builds(
    Attributes,
    instance_type=st.sampled_from(["", "", "a", "b"]),
    vcpu=st.sampled_from([0, 0, 2, 4]),
    usage_operation=st.sampled_from(["", "", "x", "y"]),
)
NOTHING = Attributes()


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    """Draw up to a dozen events, each with an id of its own."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(
            st.sampled_from(
                [EventKind.POWER_ON] * 4 + [EventKind.POWER_OFF] * 4 + [EventKind.ATTRIBUTE_CHANGE]
            )
        )
        off = kind is EventKind.POWER_OFF
        made.append(
            Event(
                event_id=f"{draw(st.integers(0, 9))}-{number}",
                kind=kind,
                occurred_at=draw(instants),
                source=draw(st.sampled_from(list(Source))),
                fresh=kind is EventKind.POWER_ON and draw(st.booleans()),
                previous_state=draw(st.sampled_from(["", "running", "stopped"])) if off else "",
                termination=off and draw(st.integers(0, 9)) == 0,
                attributes=NOTHING if off else draw(st.one_of(st.just(NOTHING), attributes)),
            )
        )
    return made


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw ons and offs in turn, with a statement or a change here and there."""
    places = sorted(draw(st.lists(ticks, min_size=4, max_size=12, unique=True)))
    made = []
    for number, place in enumerate(places):
        kind = EventKind.POWER_OFF if number % 2 else EventKind.POWER_ON
        if draw(st.integers(0, 7)) == 0:
            kind = EventKind.ATTRIBUTE_CHANGE
        says = kind is not EventKind.POWER_OFF and draw(st.booleans())
        stated = draw(attributes) if says else NOTHING
        made.append(Event(f"{number}", kind, place * TICK, Source.CLOUDTRAIL, attributes=stated))
    return made


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    """Draw a sighting that lasts up to fifteen minutes."""
    launch = draw(instants)
    first = launch + draw(st.integers(0, 40)) * TICK
    return Sighting(launch, first, first + draw(st.integers(0, 90)) * TICK, draw(attributes))


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """Draw what listings showed of a stopped instance."""
    first = draw(instants)
    return Statement(first, first + draw(st.integers(0, 60)) * TICK, draw(attributes))


@st.composite
def gaps(draw: st.DrawFn, listings: list[int]) -> list[TrackingGap]:
    """Draw up to two times without tracking, one after the other."""
    edges = sorted(draw(st.lists(instants, max_size=4, unique=True)))
    made = []
    for ended_at, resumed_at in zip(edges[::2], [*edges[1::2], 0], strict=False):
        last = max((x for x in listings if x <= ended_at), default=0)
        made.append(TrackingGap(ended_at, resumed_at, last - DESCRIBE_LAG if last else 0))
    return made


@st.composite
def instance_facts(draw: st.DrawFn) -> InstanceFacts:
    """Draw everything that may be known of one instance."""
    listings = sorted(draw(st.lists(instants, max_size=5, unique=True)))
    return InstanceFacts(
        events=draw(events()),
        sightings=draw(st.lists(sightings(), max_size=2)),
        statements=draw(st.lists(statements(), max_size=2)),
        listings=listings,
        gaps=draw(gaps(listings)) if draw(st.integers(0, 3)) == 0 else [],
    )
