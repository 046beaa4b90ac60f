"""What a report says about a few runs, with the numbers worked out by hand."""

from datetime import UTC, datetime

import pytest

from libs.common.instants import Micros, to_micros
from services.reports.columns import Classification, Shape
from services.reports.groups import Dimension, TooManyGroups
from services.reports.runtime import Report, report
from services.reports.timelines import Timelines
from services.reports.windows import Bucket, Window, bucket_edges
from services.reports.zones import load_zone
from tests.support.reports import Machine, Ran, fleet_of

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ONE, TWO = Machine("i-00000001"), Machine("i-00000002")
BY_DISTRIBUTION = (Dimension.DISTRIBUTION,)


def at(text: str) -> Micros:
    """Read a time of UTC in November 2026, as in "20 13:30"."""
    return to_micros(datetime.strptime(f"2026-11-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC))


def ask(
    ran: list[Ran],
    start: str,
    end: str,
    bucket: Bucket = Bucket.NONE,
    zone: str = "UTC",
    as_of: str = "30 00:00",
    by: tuple[Dimension, ...] = (),
    most_groups: int = 100,
) -> Report:
    """Report on some runs."""
    fleet = fleet_of(ran)
    edges = bucket_edges(Window(at(start), at(end)), bucket, load_zone(zone))
    return report(fleet, Timelines.of(fleet), by, edges, at(as_of), most_groups=most_groups)


def test_runtime_is_what_lies_in_the_window() -> None:
    """A run from 10:00 to 16:00 counts three hours in a window from 13:00 on."""
    answer = ask([Ran(at("20 10:00"), at("20 16:00"))], "20 13:00", "21 00:00")
    assert answer.totals.runtime.tolist() == [[3 * HOUR]]


def test_a_window_may_begin_and_end_at_any_time_of_day() -> None:
    """A run of two days, by days, in a window from 17:23 to 05:07 of the day after the next."""
    answer = ask([Ran(at("19 00:00"), at("23 00:00"))], "20 17:23", "22 05:07", Bucket.DAY)
    assert answer.totals.runtime[:, 0].tolist() == [
        6 * HOUR + 37 * MINUTE,
        DAY,
        5 * HOUR + 7 * MINUTE,
    ]


def test_microseconds_are_exact() -> None:
    """A run of one microsecond is one microsecond."""
    answer = ask([Ran(at("20 10:00"), at("20 10:00") + 1)], "20 00:00", "21 00:00")
    assert answer.totals.runtime.tolist() == [[1]]


def test_a_run_that_ends_at_midnight_is_not_in_the_next_day() -> None:
    """Neither its time nor the instance nor a peak."""
    answer = ask([Ran(at("20 22:00"), at("21 00:00"))], "20 00:00", "22 00:00", Bucket.DAY)
    assert answer.totals.runtime[:, 0].tolist() == [2 * HOUR, 0]
    assert answer.totals.instances[:, 0].tolist() == [1, 0]
    assert answer.totals.peak_instances[:, 0].tolist() == [1, 0]


def test_a_run_that_begins_as_another_ends_is_never_concurrent_with_it() -> None:
    """Two instances that take turns at 12:00 peak at one."""
    ran = [Ran(at("20 10:00"), at("20 12:00"), ONE), Ran(at("20 12:00"), at("20 14:00"), TWO)]
    answer = ask(ran, "20 00:00", "21 00:00")
    assert answer.totals.peak_instances.tolist() == [[1]]
    assert answer.totals.peak_instances_at.tolist() == [[at("20 10:00")]]
    assert answer.totals.instances.tolist() == [[2]]


def test_a_change_of_instances_at_midnight_does_not_raise_either_days_peak() -> None:
    """What takes over at midnight belongs to the day that begins."""
    ran = [Ran(at("20 10:00"), at("21 00:00"), ONE), Ran(at("21 00:00"), at("21 14:00"), TWO)]
    answer = ask(ran, "20 00:00", "22 00:00", Bucket.DAY)
    assert answer.totals.peak_instances[:, 0].tolist() == [1, 1]
    assert answer.totals.peak_instances_at[:, 0].tolist() == [at("20 10:00"), at("21 00:00")]


def test_peaks_of_instances_and_of_vcpus_have_their_own_instants() -> None:
    """Three small instances at 12:00, one large one at 15:00."""
    small, large = Shape("t3.small", 2, 2048), Shape("m5.24xlarge", 96, 393216)
    ran = [
        Ran(at("20 10:00"), at("20 13:00"), Machine("i-00000001"), small),
        Ran(at("20 11:00"), at("20 13:00"), Machine("i-00000002"), small),
        Ran(at("20 12:00"), at("20 13:00"), Machine("i-00000003"), small),
        Ran(at("20 15:00"), at("20 16:00"), Machine("i-00000004"), large),
    ]
    totals = ask(ran, "20 00:00", "21 00:00").totals
    assert (totals.peak_instances[0, 0], totals.peak_instances_at[0, 0]) == (3, at("20 12:00"))
    assert (totals.peak_vcpus[0, 0], totals.peak_vcpus_at[0, 0]) == (96, at("20 15:00"))


def test_a_peak_that_is_on_when_a_bucket_begins_has_the_buckets_start() -> None:
    """An instance that ran through is at its peak from midnight on."""
    answer = ask([Ran(at("18 00:00"), None)], "20 00:00", "22 00:00", Bucket.DAY)
    assert answer.totals.peak_instances_at[:, 0].tolist() == [at("20 00:00"), at("21 00:00")]


def test_an_open_run_counts_to_as_of() -> None:
    """Begun at 10:00 and reported as of 12:30, in a window that reaches to midnight."""
    ran = [Ran(at("20 10:00"), None, confirmed=(at("20 10:00"), at("20 12:00")))]
    totals = ask(ran, "20 00:00", "21 00:00", as_of="20 12:30").totals
    assert totals.runtime.tolist() == [[150 * MINUTE]]
    assert totals.unconfirmed.tolist() == [[30 * MINUTE]]


def test_an_open_run_counts_to_the_windows_end() -> None:
    """The window ends before as_of."""
    answer = ask([Ran(at("20 10:00"), None)], "20 00:00", "20 11:00", as_of="20 12:30")
    assert answer.totals.runtime.tolist() == [[HOUR]]


def test_buckets_after_as_of_are_there_with_zeros() -> None:
    """A week asked on its second day has seven buckets."""
    answer = ask(
        [Ran(at("16 00:00"), None)],
        "16 00:00",
        "23 00:00",
        Bucket.DAY,
        as_of="17 06:00",
        by=BY_DISTRIBUTION,
    )
    assert answer.rows.runtime[:, 0].tolist() == [DAY, 6 * HOUR, 0, 0, 0, 0, 0]
    assert answer.rows.peak_instances[:, 0].tolist() == [1, 1, 0, 0, 0, 0, 0]


def test_a_window_that_has_not_begun_is_all_zeros() -> None:
    """Nothing occurs in it, not even what is on now."""
    answer = ask([Ran(at("16 00:00"), None)], "20 00:00", "21 00:00", as_of="17 00:00")
    assert answer.keys == ()
    assert answer.totals.runtime.tolist() == [[0]]
    assert answer.totals.instances.tolist() == [[0]]


def test_a_run_of_no_length_is_seen_where_it_lies_and_adds_nothing_else() -> None:
    """An instance that was on and off at noon was seen that day, and peaked at nothing."""
    answer = ask([Ran(at("20 12:00"), at("20 12:00"))], "20 00:00", "22 00:00", Bucket.DAY)
    assert answer.totals.instances[:, 0].tolist() == [1, 0]
    assert answer.totals.images[:, 0].tolist() == [1, 0]
    assert answer.totals.runtime[:, 0].tolist() == [0, 0]
    assert answer.totals.peak_instances[:, 0].tolist() == [0, 0]


def test_a_run_of_no_length_at_midnight_is_seen_in_the_day_that_begins() -> None:
    """As the half-open bucket says."""
    answer = ask([Ran(at("21 00:00"), at("21 00:00"))], "20 00:00", "22 00:00", Bucket.DAY)
    assert answer.totals.instances[:, 0].tolist() == [0, 1]


def test_days_of_25_and_23_hours_count_all_their_hours() -> None:
    """An instance that is always on runs 25 hours on 2026-10-25 in Berlin, 24 the day after."""
    fleet = fleet_of([Ran(0, None)])
    start, end = (to_micros(datetime(2026, 10, day, 22, tzinfo=UTC)) for day in (24, 26))
    edges = bucket_edges(Window(start, end + HOUR), Bucket.DAY, load_zone("Europe/Berlin"))
    answer = report(fleet, Timelines.of(fleet), (), edges, at("30 00:00"), most_groups=1)
    assert answer.totals.runtime[:, 0].tolist() == [25 * HOUR, 24 * HOUR]


def test_vcpu_and_memory_time_are_runtime_times_size() -> None:
    """Three hours of 4 vCPUs and 16 GiB."""
    ran = [Ran(at("20 10:00"), at("20 13:00"), shape=Shape("m5.xlarge", 4, 16384))]
    totals = ask(ran, "20 00:00", "21 00:00").totals
    assert totals.vcpu_time.tolist() == [[12 * HOUR]]
    assert totals.memory_time.tolist() == [[3 * HOUR * 16384]]
    assert (totals.vcpu_unknown.tolist(), totals.memory_unknown.tolist()) == ([[0]], [[0]])


def test_runtime_of_an_unknown_type_is_counted_and_said_to_be_unknown() -> None:
    """It has no vCPU time, and two hours are given as unknown rather than as zero."""
    ran = [
        Ran(at("20 10:00"), at("20 12:00"), ONE, Shape()),
        Ran(at("20 10:00"), at("20 11:00"), TWO, Shape("x1.new", 8, 0)),
    ]
    totals = ask(ran, "20 00:00", "21 00:00").totals
    assert totals.runtime.tolist() == [[3 * HOUR]]
    assert totals.vcpu_time.tolist() == [[8 * HOUR]]
    assert totals.vcpu_unknown.tolist() == [[2 * HOUR]]
    assert totals.memory_unknown.tolist() == [[3 * HOUR]]


def test_what_is_not_confirmed_is_part_of_runtime_and_what_is_possible_beyond_it() -> None:
    """On from 10:00, last seen at 11:00, off by 12:00, gone at 12:40 at the latest."""
    ran = [
        Ran(
            at("20 10:00"),
            at("20 12:00"),
            confirmed=(at("20 10:00"), at("20 11:00")),
            possible_end=at("20 12:40"),
        )
    ]
    totals = ask(ran, "20 00:00", "21 00:00").totals
    assert totals.runtime.tolist() == [[2 * HOUR]]
    assert totals.unconfirmed.tolist() == [[HOUR]]
    assert totals.possible.tolist() == [[40 * MINUTE]]


def test_a_group_that_only_possibly_ran_has_a_row() -> None:
    """Its run ended before the window, and it may have gone on into it."""
    ran = [Ran(at("19 10:00"), at("19 20:00"), possible_end=at("20 01:00"))]
    answer = ask(ran, "20 00:00", "21 00:00", by=BY_DISTRIBUTION)
    assert answer.keys == (("rhel",),)
    assert answer.rows.possible.tolist() == [[HOUR]]
    assert (answer.rows.runtime[0, 0], answer.rows.instances[0, 0]) == (0, 0)


def test_every_group_that_occurs_has_a_row_in_every_bucket() -> None:
    """Debian ran on the first day, RHEL on the second, and the third is empty."""
    ran = [
        Ran(at("20 10:00"), at("20 11:00"), ONE, what=Classification("debian", "12")),
        Ran(at("21 10:00"), at("21 12:00"), TWO, what=Classification("rhel", "9.4")),
    ]
    answer = ask(ran, "20 00:00", "23 00:00", Bucket.DAY, by=BY_DISTRIBUTION)
    assert answer.keys == (("debian",), ("rhel",))
    assert answer.rows.runtime.tolist() == [[HOUR, 0], [0, 2 * HOUR], [0, 0]]


def test_a_group_that_does_not_occur_in_the_window_has_none() -> None:
    """What ran before and after is not mentioned."""
    ran = [
        Ran(at("19 10:00"), at("20 00:00"), ONE, what=Classification("debian")),
        Ran(at("20 10:00"), at("20 11:00"), TWO),
        Ran(at("21 00:00"), at("21 11:00"), ONE, what=Classification("ubuntu")),
    ]
    assert ask(ran, "20 00:00", "21 00:00", by=BY_DISTRIBUTION).keys == (("rhel",),)


def test_an_image_with_several_products_counts_in_each_and_once_in_the_total() -> None:
    """OpenShift with high availability for one hour, plain RHEL for another."""
    both = Classification("rhel", "9.4", products=("openshift", "rhel-ha"))
    ran = [
        Ran(at("20 10:00"), at("20 11:00"), ONE, what=both),
        Ran(at("20 10:00"), at("20 11:00"), TWO),
    ]
    answer = ask(ran, "20 00:00", "21 00:00", by=(Dimension.PRODUCT,))
    assert answer.keys == (("",), ("openshift",), ("rhel-ha",))
    assert answer.rows.runtime.tolist() == [[HOUR, HOUR, HOUR]]
    assert answer.totals.runtime.tolist() == [[2 * HOUR]]
    assert answer.totals.peak_instances.tolist() == [[2]]


def test_instances_and_images_are_counted_once_however_often_they_run() -> None:
    """Two instances of one image, five runs."""
    ran = [Ran(at(f"20 {hour:02}:00"), at(f"20 {hour:02}:30"), ONE) for hour in (1, 3, 5)]
    ran += [Ran(at(f"20 {hour:02}:00"), at(f"20 {hour:02}:30"), TWO) for hour in (1, 2)]
    totals = ask(ran, "20 00:00", "21 00:00").totals
    assert (totals.instances.tolist(), totals.images.tolist()) == ([[2]], [[1]])


def test_ids_of_two_accounts_are_two_instances() -> None:
    """An instance's id is unique in its account only."""
    ran = [
        Ran(at("20 10:00"), at("20 11:00"), Machine("i-00000001", account=1)),
        Ran(at("20 10:00"), at("20 11:00"), Machine("i-00000001", account=2)),
    ]
    assert ask(ran, "20 00:00", "21 00:00").totals.instances.tolist() == [[2]]


def test_an_unknown_image_is_no_image() -> None:
    """The instance was seen; how many images there were, nobody says."""
    totals = ask([Ran(at("20 10:00"), None, Machine(image=""))], "20 00:00", "21 00:00").totals
    assert (totals.instances.tolist(), totals.images.tolist()) == ([[1]], [[0]])


def test_sums_beyond_64_bits_are_exact() -> None:
    """24 TiB for thirty years, in MiB times microseconds, is 2.4e22."""
    fleet = fleet_of([Ran(0, None, shape=Shape("u-24tb1.metal", 448, 25165824))])
    end = 30 * 365 * DAY + 1
    answer = report(fleet, Timelines.of(fleet), (), (0, end), end, most_groups=1)
    assert answer.totals.memory_time.tolist() == [[end * 25165824]]
    assert answer.totals.memory_time[0, 0] > 2**63


def test_runtime_beyond_64_bits_is_exact() -> None:
    """Ten thousand instances for thirty years and a microsecond are 9.5e18 microseconds."""
    fleet = fleet_of(Ran(0, None, Machine(f"i-{number:08x}")) for number in range(10_000))
    end = 30 * 365 * DAY + 1
    answer = report(fleet, Timelines.of(fleet), (), (0, end), end, most_groups=1)
    assert answer.totals.runtime.tolist() == [[10_000 * end]]
    assert answer.totals.runtime[0, 0] > 2**63


def test_more_groups_than_allowed_are_refused() -> None:
    """Three distributions where two would fit."""
    ran = [
        Ran(at("20 10:00"), None, Machine(f"i-0000000{number}"), what=Classification(name))
        for number, name in enumerate(("debian", "rhel", "ubuntu"))
    ]
    with pytest.raises(TooManyGroups, match="3 groups"):
        ask(ran, "20 00:00", "21 00:00", by=BY_DISTRIBUTION, most_groups=2)


def test_products_count_as_groups_of_their_own() -> None:
    """One image with three products makes three groups, where two would fit."""
    what = Classification("rhel", products=("openshift", "rhel-ha", "sap"))
    with pytest.raises(TooManyGroups, match="3 groups"):
        ask(
            [Ran(at("20 10:00"), None, what=what)],
            "20 00:00",
            "21 00:00",
            by=(Dimension.PRODUCT,),
            most_groups=2,
        )
