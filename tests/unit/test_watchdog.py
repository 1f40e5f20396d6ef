"""What the watchdog makes of an engine, tick by tick, on a clock that the test moves."""

import itertools

import pytest

from penstock_service.restarts import Restarts
from penstock_service.watchdog import Verdict, Watchdog

STALL, HANG = 9.0, 55.0
TICK = 0.25


class Watch:
    """A watchdog, its clock, and the engine that it looks at."""

    def __init__(self) -> None:
        self.dog = Watchdog(STALL, HANG)
        self.now = 1000.0
        self.running, self.steps, self.occupied = 0, 0, False
        self.verdict = self.dog.judge(self.now, self.running, self.steps)

    def quiet(self, seconds: float) -> Verdict:
        """So long the engine makes no step, and the watchdog looks as often as it does."""
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.verdict = self.dog.judge(self.now, self.running, self.steps, self.occupied)
        return self.verdict

    def step(self) -> Verdict:
        """The engine makes a step."""
        self.steps += 1
        return self.quiet(TICK)

    def suspended(self, seconds: float) -> Verdict:
        """So long nobody looks."""
        self.now += seconds
        self.verdict = self.dog.judge(self.now, self.running, self.steps)
        return self.verdict


@pytest.fixture
def busy() -> Watch:
    """An engine with work that has just made a step."""
    watch = Watch()
    watch.running = 3
    watch.step()
    watch.step()
    return watch


def test_an_idle_engine_is_well_however_long() -> None:
    assert Watch().quiet(3600) is Verdict.HEALTHY


def test_it_stalls_past_nine_seconds_without_a_step_and_not_before(busy: Watch) -> None:
    assert busy.quiet(STALL) is Verdict.HEALTHY
    assert busy.quiet(TICK) is Verdict.STALLED


def test_ten_seconds_after_its_last_step_it_is_known_to_stall(busy: Watch) -> None:
    most_late = TICK  # the step came right after a tick

    assert busy.quiet(10 - most_late) is Verdict.STALLED


def test_a_step_makes_it_well_again(busy: Watch) -> None:
    busy.quiet(20)

    assert busy.step() is Verdict.HEALTHY


def test_it_hangs_past_fifty_five_seconds(busy: Watch) -> None:
    assert busy.quiet(HANG) is Verdict.STALLED
    assert busy.quiet(TICK) is Verdict.HUNG


def test_silence_of_an_idle_engine_does_not_count_against_its_next_job() -> None:
    watch = Watch()
    watch.quiet(3600)
    watch.running = 1

    assert watch.quiet(STALL) is Verdict.HEALTHY
    assert watch.quiet(HANG - STALL + TICK) is Verdict.HUNG


def test_an_engine_that_hangs_while_idle_is_found_by_its_first_job() -> None:
    watch = Watch()
    watch.running = 1

    assert watch.quiet(STALL + 2 * TICK) is Verdict.STALLED


def test_a_new_job_does_not_restart_the_clock(busy: Watch) -> None:
    for _ in range(20):
        busy.running += 1
        busy.quiet(1)

    assert busy.verdict is Verdict.STALLED


def test_an_engine_that_has_taken_long_before_is_given_ten_times_as_long(busy: Watch) -> None:
    busy.quiet(8)
    busy.step()

    assert busy.quiet(70) is Verdict.STALLED
    assert busy.quiet(15) is Verdict.HUNG


def test_a_stall_that_is_over_gives_the_next_one_no_longer(busy: Watch) -> None:
    busy.quiet(40)
    busy.step()

    assert busy.quiet(HANG + TICK) is Verdict.HUNG


def test_callers_who_give_up_do_not_hide_a_hang(busy: Watch) -> None:
    verdicts = []
    for _ in range(12):
        busy.running = 3
        verdicts.append(busy.quiet(5))
        busy.running = 0
        verdicts.append(busy.quiet(60))

    assert verdicts[::2] == [Verdict.HEALTHY, *[Verdict.STALLED] * 10, Verdict.HUNG]
    assert set(verdicts[1::2]) == {Verdict.HEALTHY}  # with nothing to do it is not known to stall: somebody has to try


def test_a_step_between_callers_who_give_up_shows_that_it_is_well(busy: Watch) -> None:
    for _ in range(12):
        busy.running = 3
        busy.quiet(5)
        busy.running = 0
        busy.step()

    assert busy.quiet(60) is Verdict.HEALTHY


def test_a_first_step_after_a_pause_may_take_long_and_gives_the_next_no_longer(busy: Watch) -> None:
    busy.running = 0
    busy.quiet(1)
    busy.running = 3
    busy.quiet(8)
    busy.step()

    assert busy.quiet(HANG + TICK) is Verdict.HUNG


def test_a_long_step_gives_others_as_long_for_ten_minutes(busy: Watch) -> None:
    busy.quiet(8)
    for _ in range(600):
        busy.step()
        busy.quiet(1)

    assert busy.quiet(HANG + TICK) is Verdict.HUNG


def test_what_its_operator_asks_is_no_silence(busy: Watch) -> None:
    busy.occupied = True
    assert busy.quiet(300) is Verdict.HEALTHY

    busy.occupied = False
    assert busy.quiet(STALL) is Verdict.HEALTHY
    assert busy.quiet(TICK) is Verdict.STALLED


def test_steps_that_take_long_are_no_stall_for_as_long_as_they_come(busy: Watch) -> None:
    verdicts = set()
    for _ in range(1000):
        verdicts.add(busy.quiet(STALL - 1))
        verdicts.add(busy.step())

    assert verdicts == {Verdict.HEALTHY}


@pytest.mark.parametrize("seconds", [3, 20, 3600])
def test_time_in_which_nobody_looked_does_not_count(busy: Watch, seconds: float) -> None:
    busy.quiet(8)

    assert busy.suspended(seconds) is Verdict.HEALTHY
    assert busy.quiet(STALL) is Verdict.HEALTHY
    assert busy.quiet(TICK) is Verdict.STALLED


def test_a_suspension_is_no_long_step_either(busy: Watch) -> None:
    busy.steps += 1
    busy.suspended(600)

    assert busy.quiet(HANG + TICK) is Verdict.HUNG


def test_a_tick_that_is_a_little_late_counts(busy: Watch) -> None:
    for _ in range(5):
        busy.suspended(TICK + 2)

    assert busy.verdict is Verdict.STALLED


def test_it_looks_more_often_where_the_limit_is_short() -> None:
    assert Watchdog(9, 55).tick_seconds == TICK
    assert Watchdog(0.2, 1).tick_seconds == pytest.approx(0.05)


def test_only_so_many_restarts_are_within_ten_minutes() -> None:
    restarts = Restarts(3)

    begun = [restarts.begin(now) for now in itertools.chain(range(0, 500, 100), [599, 600, 601, 701])]

    assert begun == [True, True, True, False, False, False, True, False, True]


def test_without_restarts_there_is_none() -> None:
    assert not Restarts(0).begin(0.0)
