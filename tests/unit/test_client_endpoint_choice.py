"""Which endpoint and channel take a call, and when an endpoint takes none."""

from collections.abc import Iterable, Sequence

import pytest

from penstock.endpoints.directory import Directory
from penstock.endpoints.endpoint import CROWDED_STREAMS, IDLE_SECONDS, Endpoint
from penstock.endpoints.lookup import REFRESH_SECONDS, SOONEST_SECONDS, Lookup
from penstock.endpoints.standing import FAILURES_TO_EJECT, FIRST_COOLDOWN_SECONDS, LONGEST_COOLDOWN_SECONDS, Standing
from penstock.endpoints.targets import Address, Name, parse_targets
from penstock.events import EndpointEjected, EndpointRestored

NAME = Name("llm.svc", "50051")


def directory(*targets: str) -> Directory[str]:
    return Directory(parse_targets(targets))


def chosen(directory: Directory[str], avoid: Sequence[str] = ()) -> str:
    return directory.choose(avoid).address.endpoint


def eject(directory: Directory[str], endpoint: str, at: float = 0.0) -> EndpointEjected:
    events = [directory.failed(found(directory, endpoint), at, at, 0.0) for _ in range(FAILURES_TO_EJECT)]
    assert isinstance(events[-1], EndpointEjected)
    return events[-1]


def found(directory: Directory[str], endpoint: str) -> Endpoint[str]:
    found = directory.find(endpoint)
    assert found is not None
    return found


def names(endpoints: Iterable[Endpoint[str]]) -> list[str]:
    return [endpoint.address.endpoint for endpoint in endpoints]


class TestChoice:
    def test_the_endpoint_with_the_fewest_calls_in_flight_takes_the_next(self) -> None:
        endpoints = directory("a:1", "b:1", "c:1")
        for endpoint, in_flight in (("a:1", 3), ("b:1", 1), ("c:1", 2)):
            found(endpoints, endpoint).in_flight = in_flight

        assert {chosen(endpoints) for _ in range(4)} == {"b:1"}

    def test_equals_take_turns(self) -> None:
        endpoints = directory("a:1", "b:1", "c:1")

        assert sorted(chosen(endpoints) for _ in range(6)) == ["a:1", "a:1", "b:1", "b:1", "c:1", "c:1"]

    def test_an_endpoint_to_avoid_is_taken_only_where_there_is_no_other(self) -> None:
        endpoints = directory("a:1", "b:1")
        found(endpoints, "b:1").in_flight = 50

        assert chosen(endpoints, avoid=["a:1"]) == "b:1"
        assert chosen(endpoints, avoid=["a:1", "b:1"]) == "a:1"

    def test_an_ejected_endpoint_is_worse_than_one_to_avoid(self) -> None:
        endpoints = directory("a:1", "b:1")
        eject(endpoints, "a:1")

        assert {chosen(endpoints, avoid=["b:1"]) for _ in range(4)} == {"b:1"}


class TestEjection:
    def test_three_failures_in_a_row_eject(self) -> None:
        endpoints = directory("a:1", "b:1")

        event = eject(endpoints, "a:1")

        assert (event.endpoint, event.failures, event.seconds) == ("a:1", 3, FIRST_COOLDOWN_SECONDS)
        assert {chosen(endpoints) for _ in range(4)} == {"b:1"}

    def test_a_call_that_works_in_between_begins_the_row_anew(self) -> None:
        standing = Standing()
        for at in (1.0, 2.0):
            standing.failed(at, at, True, 0.0)
        standing.worked(3.0)

        assert [standing.failed(at, at, True, 0.0) for at in (4.0, 5.0)] == [None, None]
        assert standing.failed(6.0, 6.0, True, 0.0) is not None

    def test_the_calls_that_break_with_one_connection_are_one_failure(self) -> None:
        standing = Standing()

        cooldowns = {standing.failed(began / 100, 10.0 + began / 100, True, 0.0) for began in range(64)}

        assert cooldowns == {None}
        assert standing.failures == 1

    def test_calls_that_a_draining_server_finishes_do_not_hide_that_it_takes_none(self) -> None:
        standing = Standing()
        for at in (10.0, 11.0):
            standing.failed(at, at, True, 0.0)
            standing.worked(began=1.0)

        assert standing.failed(12.0, 12.0, True, 0.0) == FIRST_COOLDOWN_SECONDS

    def test_an_endpoint_that_says_that_it_is_leaving_is_ejected_at_once(self) -> None:
        endpoints = directory("a:1", "b:1")

        endpoints.failed(found(endpoints, "a:1"), 1.0, 1.0, 0.0, leaving=True)

        assert {chosen(endpoints) for _ in range(4)} == {"b:1"}

    def test_when_the_last_in_use_is_leaving_its_calls_go_to_those_that_were_ejected(self) -> None:
        endpoints = directory("a:1", "b:1")
        eject(endpoints, "a:1")

        endpoints.failed(found(endpoints, "b:1"), 9.0, 9.0, 0.0, leaving=True)

        assert {chosen(endpoints, avoid=["b:1"]) for _ in range(4)} == {"a:1"}

    def test_of_those_that_left_the_first_to_leave_gets_the_calls_though_the_last_has_fewer_in_flight(self) -> None:
        endpoints = directory("a:1", "b:1", "c:1")
        for at, name in enumerate(("b:1", "a:1", "c:1")):
            endpoints.failed(found(endpoints, name), at, at, 0.0, leaving=True)
        found(endpoints, "b:1").in_flight = 50

        assert {chosen(endpoints) for _ in range(4)} == {"b:1"}

        endpoints.failed(found(endpoints, "b:1"), 9.0, 9.0, 0.0, leaving=True)
        assert chosen(endpoints) == "a:1"

    def test_those_that_failed_get_calls_before_those_that_left(self) -> None:
        endpoints = directory("a:1", "b:1")
        eject(endpoints, "a:1", at=9.0)
        endpoints.failed(found(endpoints, "b:1"), 1.0, 1.0, 0.0, leaving=True)
        found(endpoints, "a:1").in_flight = 50

        assert {chosen(endpoints) for _ in range(4)} == {"a:1"}

    def test_one_that_left_and_answers_again_is_as_good_as_any(self) -> None:
        endpoints = directory("a:1", "b:1")
        endpoints.failed(found(endpoints, "a:1"), 1.0, 1.0, 0.0, leaving=True)

        endpoints.worked(found(endpoints, "a:1"), 2.0)

        assert {chosen(endpoints) for _ in range(4)} == {"a:1", "b:1"}

    def test_one_that_is_back_and_ends_an_old_call_because_it_leaves_is_ejected_and_probed_again(self) -> None:
        endpoints = directory("a:1", "b:1")
        endpoint = found(endpoints, "a:1")
        endpoints.failed(endpoint, 100.0, 100.0, 0.0, leaving=True)
        endpoints.probed(endpoint, True, 105.0, 0.0)

        endpoints.failed(endpoint, 50.0, 130.0, 0.0, leaving=True)  # another server behind the same address

        assert endpoint.standing.probe_due(130.0 + LONGEST_COOLDOWN_SECONDS)
        endpoints.probed(endpoint, True, 140.0, 0.0)
        assert {chosen(endpoints) for _ in range(4)} == {"a:1", "b:1"}

    def test_an_only_endpoint_that_is_leaving_is_connected_to_anew_once_a_second(self) -> None:
        endpoints = directory("a:1")
        endpoint, dialled = found(endpoints, "a:1"), []

        for at in (1.0, 1.1, 1.9, 2.0):
            endpoint.channel(at, None, 1, dialled.append)
            endpoints.failed(endpoint, at, at, 0.0, leaving=True)
        endpoint.channel(2.1, None, 1, dialled.append)

        assert len(dialled) == 3

    def test_a_call_to_an_endpoint_that_was_ejected_connects_anew(self) -> None:
        endpoints = directory("a:1", "b:1")
        endpoint = found(endpoints, "a:1")
        before = endpoint.channel(0.0, None, 1, lambda _extra: "dialled before")

        eject(endpoints, "a:1")

        after = endpoint.channel(9.0, None, 1, lambda _extra: "dialled after")
        assert (before.calls, after.calls) == ("dialled before", "dialled after")

    def test_an_only_endpoint_stays_in_use_though_it_is_leaving(self) -> None:
        endpoints = directory("a:1")

        assert endpoints.failed(found(endpoints, "a:1"), 1.0, 1.0, 0.0, leaving=True) is None

    def test_the_last_endpoint_in_use_is_never_ejected(self) -> None:
        endpoints = directory("a:1", "b:1")
        eject(endpoints, "a:1")

        events = [endpoints.failed(found(endpoints, "b:1"), at, at, 0.0) for at in range(20)]

        assert set(events) == {None}
        assert chosen(endpoints) == "b:1"

    def test_a_single_endpoint_is_never_ejected(self) -> None:
        endpoints = directory("a:1")

        assert {endpoints.failed(found(endpoints, "a:1"), at, at, 0.0) for at in range(20)} == {None}

    def test_an_endpoint_is_probed_once_its_cooldown_is_over_and_used_again_if_it_answers(self) -> None:
        endpoints = directory("a:1", "b:1")
        cooldown = eject(endpoints, "a:1").seconds

        assert endpoints.begin_probes(cooldown - 0.1) == []
        assert names(endpoints.begin_probes(cooldown)) == ["a:1"]
        assert endpoints.begin_probes(cooldown) == []  # one at a time
        assert {chosen(endpoints) for _ in range(4)} == {"b:1"}  # until it has answered

        assert isinstance(endpoints.probed(found(endpoints, "a:1"), True, cooldown, 0.0), EndpointRestored)
        assert {chosen(endpoints) for _ in range(4)} == {"a:1", "b:1"}

    def test_one_failure_after_a_probe_ejects_again_for_longer(self) -> None:
        standing = Standing()
        for at in (1.0, 2.0, 3.0):
            standing.failed(at, at, True, 0.0)
        standing.probe_begins()
        standing.probed(True, 9.0, 0.0)

        assert standing.failed(10.0, 10.0, True, 0.0) == 2 * FIRST_COOLDOWN_SECONDS

    def test_a_call_that_works_after_a_probe_makes_the_endpoint_as_good_as_any(self) -> None:
        standing = Standing()
        for at in (1.0, 2.0, 3.0):
            standing.failed(at, at, True, 0.0)
        standing.probe_begins()
        standing.probed(True, 9.0, 0.0)
        standing.worked(10.0)

        assert [standing.failed(at, at, True, 0.0) for at in (11.0, 12.0)] == [None, None]
        assert standing.failed(13.0, 13.0, True, 0.0) == FIRST_COOLDOWN_SECONDS

    def test_cooldowns_grow_to_half_a_minute_and_are_spread(self) -> None:
        standing = Standing()
        cooldowns = [standing.failed(at, at, True, 0.0) for at in (1.0, 2.0, 3.0)][-1:]
        cooldowns += [standing.probed(False, 100.0, 0.0) for _ in range(4)]

        assert cooldowns == [5, 10, 20, 30, 30]
        assert 0.8 * LONGEST_COOLDOWN_SECONDS <= (standing.probed(False, 200.0, 0.99) or 0) < LONGEST_COOLDOWN_SECONDS

    def test_a_call_to_an_ejected_endpoint_that_works_ends_the_ejection(self) -> None:
        endpoints = directory("a:1", "b:1")
        eject(endpoints, "a:1")

        assert isinstance(endpoints.worked(found(endpoints, "a:1"), began=1.0), EndpointRestored)
        assert "a:1" in {chosen(endpoints) for _ in range(4)}


class TestLookups:
    def test_each_address_behind_a_name_is_an_endpoint(self) -> None:
        endpoints: Directory[str] = Directory([NAME])
        (lookup,) = endpoints.begin_lookups(0.0)

        endpoints.looked_up(lookup, [NAME.at("10.0.0.1", 50051), NAME.at("fd00::1", 50051)], 1.0)

        assert names(endpoints.endpoints) == ["10.0.0.1:50051", "[fd00::1]:50051"]
        assert endpoints.resolved

    def test_until_a_name_is_known_grpc_resolves_it(self) -> None:
        endpoints: Directory[str] = Directory([NAME])

        assert [endpoint.address.target for endpoint in endpoints.endpoints] == ["dns:///llm.svc:50051"]

    def test_addresses_that_stay_keep_their_calls_and_those_that_vanish_get_no_more(self) -> None:
        endpoints: Directory[str] = Directory([NAME])
        (lookup,) = endpoints.begin_lookups(0.0)
        endpoints.looked_up(lookup, [NAME.at("10.0.0.1", 1), NAME.at("10.0.0.2", 1)], 1.0)
        found(endpoints, "10.0.0.2:1").in_flight = 9

        endpoints.looked_up(lookup, [NAME.at("10.0.0.2", 1), NAME.at("10.0.0.3", 1)], 2.0)

        assert names(endpoints.endpoints) == ["10.0.0.2:1", "10.0.0.3:1"]
        assert found(endpoints, "10.0.0.2:1").in_flight == 9
        assert endpoints.find("10.0.0.1:1") is None

    def test_a_lookup_that_finds_nothing_forgets_nothing(self) -> None:
        endpoints: Directory[str] = Directory([NAME])
        (lookup,) = endpoints.begin_lookups(0.0)
        endpoints.looked_up(lookup, [NAME.at("10.0.0.1", 1)], 1.0)
        endpoints.looked_up(lookup, [], 2.0)

        assert names(endpoints.endpoints) == ["10.0.0.1:1"]

    def test_a_name_is_looked_up_at_intervals_and_one_lookup_at_a_time(self) -> None:
        lookup = Lookup(NAME)
        assert lookup.due(0.0)
        lookup.begin()
        assert not lookup.due(1000.0)
        lookup.end(1000.0, [NAME.at("10.0.0.1", 1)])

        assert not lookup.due(1000.0 + REFRESH_SECONDS - 0.1)
        assert lookup.due(1000.0 + REFRESH_SECONDS)

    def test_a_failed_call_brings_the_lookup_forward(self) -> None:
        endpoints: Directory[str] = Directory([NAME])
        (lookup,) = endpoints.begin_lookups(0.0)
        endpoints.looked_up(lookup, [NAME.at("10.0.0.1", 1)], 1.0)

        endpoints.failed(found(endpoints, "10.0.0.1:1"), 5.0, 5.0, 0.0)

        assert endpoints.begin_lookups(5.0) == [lookup]

    def test_a_name_that_is_not_there_is_not_asked_for_with_every_call(self) -> None:
        lookup = Lookup(NAME)
        lookup.begin()
        lookup.end(10.0, [])

        assert lookup.ended
        assert not lookup.due(10.0 + SOONEST_SECONDS / 2)
        assert lookup.due(10.0 + SOONEST_SECONDS)


class TestChannels:
    def setup_method(self) -> None:
        self.endpoint: Endpoint[str] = Endpoint(Address("a:1", "a:1"))
        self.extra: list[bool] = []

    def take(self, now: float = 0.0, security: object = "s", most: int = 4) -> str:
        channel = self.endpoint.channel(now, security, most, self.dial)
        channel.streams += 1
        return channel.calls

    def dial(self, extra: bool) -> str:
        self.extra.append(extra)
        return f"channel {len(self.extra)}"

    def test_streams_share_one_channel_until_it_is_crowded(self) -> None:
        channels = [self.take() for _ in range(CROWDED_STREAMS + 1)]

        assert channels == ["channel 1"] * CROWDED_STREAMS + ["channel 2"]
        assert self.extra == [False, True]

    def test_with_the_most_channels_open_the_streams_are_spread_over_them(self) -> None:
        channels = [self.take(most=2) for _ in range(4 * CROWDED_STREAMS)]

        assert {channels.count(channel) for channel in channels} == {2 * CROWDED_STREAMS}
        assert len(self.extra) == 2

    def test_a_channel_beyond_the_first_goes_when_it_was_idle(self) -> None:
        for _ in range(CROWDED_STREAMS + 1):
            self.take()
        for channel in self.endpoint.channels:
            channel.streams, channel.idle_since = 0, 100.0

        self.take(now=100.0 + IDLE_SECONDS - 1)
        assert len(self.endpoint.channels) == 2
        self.take(now=100.0 + IDLE_SECONDS)
        assert [channel.calls for channel in self.endpoint.channels] == ["channel 1"]

    def test_a_channel_with_another_certificate_takes_no_more_calls(self) -> None:
        assert self.take(security="old") == "channel 1"
        assert self.take(security="new") == "channel 2"
        assert self.extra == [False, False]
        assert [channel.calls for channel in self.endpoint.channels] == ["channel 2"]


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a_cooldown_is_never_longer_than_half_a_minute(chance: float) -> None:
    standing = Standing()
    for at in (1.0, 2.0, 3.0):
        standing.failed(at, at, True, chance)

    assert all((standing.probed(False, 10.0, chance) or 99) <= LONGEST_COOLDOWN_SECONDS for _ in range(50))
