"""The promises of docs/reliability.md: what is promised, under which conditions, and what measures it."""

from __future__ import annotations

from typing import NamedTuple


class Promise(NamedTuple):
    """One row. `command` is what measures it."""

    says: str
    figure: str
    scope: str
    unit: str
    command: str
    least_n: int
    cases: tuple[str, ...] = ("",)


_CHAOS = "python -m tests.faults.chaos --calls 100000 --seed 1 --record"
_CANCELS = "python -m tests.faults.cancel_latency --calls 10000 --seed 1 --record"
_DRILLS = "python -m tests.faults.watchdog --deaths 50 --hangs 50 --record"
_OVERLOAD = "python -m tests.benchmarks.overload --record"

PROMISES: dict[str, Promise] = {
    "one_status": Promise(
        "Every accepted call ends in exactly one terminal status, and caller and server agree on it",
        "0 breaks in 100 000 calls",
        "Simulated engine in a child process that is killed and stopped; connections reset, delayed and cut off by "
        "toxiproxy; slow readers, cancels, deadlines. Accepted means that our handler began; where the connection "
        "breaks the caller sees UNAVAILABLE of gRPC's own making",
        "calls",
        _CHAOS,
        least_n=100_000,
    ),
    "tokens_in_order": Promise(
        "The tokens that a caller gets are those of its generation, in order: none is lost and none comes twice",
        "0 breaks",
        "The same run: every token of a stream or an answer is compared with the engine's function of the request, and "
        "what ends with OK has all of them",
        "tokens",
        _CHAOS,
        least_n=500_000,
    ),
    "resumed_equals_unbroken": Promise(
        "A stream that is resumed equals the unbroken one",
        "0 breaks in 10 000 resumed streams",
        "Simulated engine, greedy; cut once at any byte between its first and its last; client with resume on. Counted "
        "are the streams that were resumed: a cut behind the last token needs none, so more are tried",
        "resumed streams",
        "python -m tests.faults.cut_streams --cuts 13500 --record",
        least_n=10_000,
    ),
    "cancel_frees_slot": Promise(
        "A cancelled call frees its place in the engine",
        "<= 250 ms, the slowest one",
        "Simulated engine at 20 ms a step, 64 places, 48 of them taken by others; at eight points of a call's way, "
        "from before admission to after its end; from the caller's cancel on",
        "calls",
        _CANCELS,
        least_n=5_000,
    ),
    "deadline_frees_slot": Promise(
        "A call whose deadline passes frees its place in the engine",
        "<= 250 ms, the slowest one",
        "As above; from the deadline on",
        "calls",
        _CANCELS,
        least_n=2_000,
    ),
    "engine_death": Promise(
        "An engine that dies: every stream is told, and readiness is off",
        "<= 1 s",
        "Simulated engine in a child process that is killed (SIGKILL) under 64 streams",
        "drills",
        _DRILLS,
        least_n=50,
    ),
    "engine_hang": Promise(
        "An engine that hangs: readiness is off, then its streams end with UNAVAILABLE",
        "<= 10 s and <= 60 s",
        "Simulated engine in a child process that is stopped (SIGSTOP) under 64 streams, default settings; no step of "
        "its last ten minutes took longer than 5.5 s (after longer ones ten times as long is waited)",
        "drills",
        _DRILLS,
        least_n=50,
    ),
    "no_false_alarm": Promise(
        "A busy engine is never taken for a hung one",
        "0 alarms in an hour",
        "Simulated engine whose places are all taken, with further calls waiting all the time; steps of a second where "
        "many prompts join, and the watchdog's default settings: stalled after 9 s, hung after 55",
        "seconds",
        "python -m tests.faults.saturated --seconds 3600 --record",
        least_n=3_600,
    ),
    "no_false_alarm_long_steps": Promise(
        "An engine whose steps take seconds is not taken for a hung one",
        "0 alarms in 10 minutes",
        "As above, in a child process that reads 5000 tokens of prompts a second",
        "seconds",
        "python -m tests.faults.saturated --seconds 600 --long-steps --record",
        least_n=600,
    ),
    "no_false_alarm_vllm": Promise(
        "vLLM under load is never taken for hung",
        "0 alarms in 10 minutes",
        "vLLM with the built-in model, prompts of up to three quarters of its context, all places taken and further "
        "calls waiting; default settings",
        "seconds",
        "python -m tests.faults.saturated --seconds 600 --real --record",
        least_n=600,
    ),
    "drain_loses_none": Promise(
        "A drain ends no stream that fits its budget",
        "0 lost of 3 000",
        "Simulated engine in a child process in a process group of its own, as penstock_process_guard gives vLLM's "
        "one; SIGTERM under 64 streams at a time, to the server and by turns to its whole process group",
        "streams",
        "python -m tests.faults.drained_streams --streams 3000 --record",
        least_n=3_000,
    ),
    "rolling_restart": Promise(
        "Replicas restart one after the other and no call fails",
        "0 failed of 20 000",
        "Two replicas with the simulated engine and `--lame-duck-seconds 1`, 100 calls a second at random times "
        "through one client with its default retries; counted are the calls from the first restart on",
        "calls",
        "python -m tests.faults.rolling_restart --calls 20000 --seed 1 --record",
        least_n=20_000,
    ),
    "goodput_2x": Promise(
        "At twice the capacity the goodput stays",
        ">= 90 % of its peak",
        "Simulated engine, 64 places at 25 ms a step, Poisson arrivals; good are answers with the first token within "
        "450 ms and the others 40 ms apart on average (MLPerf's interactive limits), max_wait_seconds 0.2",
        "calls",
        _OVERLOAD,
        least_n=2_000,
    ),
    "goodput_5x": Promise(
        "At five times the capacity the goodput stays",
        ">= 80 % of its peak",
        "As above",
        "calls",
        _OVERLOAD,
        least_n=5_000,
    ),
    "refusal_time": Promise(
        "A call for which there is no room is refused at once",
        "p99 <= 10 ms",
        "At twice the capacity; as its caller sees it, from sending the call until its status is there",
        "refusals",
        _OVERLOAD,
        least_n=1_000,
    ),
    "overload_recovery": Promise(
        "After an overload the server is what it was",
        "<= 10 s, the slowest one",
        "From 3 times the capacity down to half of it, until the p99 of the first token is as before",
        "recoveries",
        _OVERLOAD,
        least_n=5,
    ),
    "unread_held": Promise(
        "A stream that is never read holds little memory",
        "<= 256 KiB each",
        "200 streams with text and token ids that are never read and all end as slow readers, default max_held_bytes; "
        "the most that the server's memory grew, gRPC's part included, by stream",
        "streams",
        "python -m tests.faults.never_read --streams 200 --record",
        least_n=200,
    ),
    "memory_slope": Promise(
        "The front end does not grow",
        "<= 1 MB an hour",
        "Mixed load with cancels, deadlines, bad requests and slow readers, and a caller killed every ten seconds; 30 "
        "minutes after a warm-up as long. The upper end of the slope's 95 % interval counts, which is that of six "
        "means of five minutes. After a warm-up of twelve minutes it was 1.7 MB an hour: now and then gRPC starts a "
        "thread, whose heap fills",
        "seconds",
        "python -m tests.faults.soak --seconds 1800 --seed 1 --record",
        least_n=1_780,  # less the seconds before the first sample and after the last
    ),
    "victim_goodput": Promise(
        "One attacker hurts others little",
        ">= 90 % of a victim's goodput without it",
        "Simulated engine; one attacker for ten seconds at the rate that the module names, and a victim's steady load "
        "over the same port. Good is a stream of the victim that is whole within 250 ms, or within twice its p99 alone "
        "if that is more",
        "calls",
        "python -m tests.faults.h2.attacks --record",
        least_n=100,
        cases=(
            *("rapid reset", "made to reset", "CONTINUATION flood", "empty CONTINUATION flood", "strings of 4 GiB"),
            *("table size updates", "header bomb", "SETTINGS flood", "PING flood", "empty DATA flood"),
            *("PRIORITY flood", "WINDOW_UPDATE flood", "metadata of 64 KiB", "binary metadata that is none"),
            *("bad gRPC framing", "slow prefaces", "1000 idle connections", "headers that never end"),
            *("10 000 halves of messages", "1 GiB declared, a hundred times", "100 messages of twice the limit"),
            "gzip bombs of 256 MiB",
        ),
    ),
    "hostile_requests": Promise(
        "Hostile requests hurt others little",
        ">= 90 % of a victim's goodput without them",
        "vLLM with the built-in model; a victim's steady load beside each attack of the list in the module; the "
        "worst one counts, and none may get INTERNAL, UNKNOWN or UNAVAILABLE. Good is a stream that is whole within "
        "three times the median alone. An attack that hurts is tried twice more, and the median of the three counts. "
        "As many sequences as the limits permit are no abuse but work, and to share an engine takes its time: beside "
        "them good is what is whole within the time that 99 of 100 took beside as many plain calls",
        "calls",
        "python -m tests.faults.attacks --record",
        least_n=3_000,
    ),
}
