"""The state file of a client: what is kept of a stream, by whom, and when."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from penstock.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    RateLimitError,
    RequestCancelled,
    StreamInterrupted,
)
from penstock.reply import Reply
from penstock.resilience.resume_token import ResumePoint
from penstock.tasks import StateFileError, rows
from penstock.tasks.processes import is_alive, this_process
from penstock.tasks.recorder import WRITE_SECONDS, TaskRecorder
from penstock.tasks.store import KEEP_SECONDS, Store
from penstock.tasks.task import Task
from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, GenerateResponse, SequenceDelta

REQUEST = GenerateRequest(prompt="Once", model="tiny", resumable=True)
KEPT_REQUEST = GenerateRequest(prompt="Once", model="tiny", resumable=True, idempotency_key="the-key")
POINT = ResumePoint("a:1", "gen-1", 1)


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(store: Store, clock: Clock) -> TaskRecorder:
    return TaskRecorder.of_new(store, REQUEST, "the-key", "chat", 60.0, clock)


def chunk(seq: int, text: str) -> GenerateChunk:
    return GenerateChunk(seq=seq, id="gen-1" if seq == 0 else "", deltas=[SequenceDelta(text=text, token_ids=[seq])])


def kept(store: Store) -> list[Task]:
    return store.run(rows.everything).result()


def only(store: Store) -> Task:
    (task,) = kept(store)
    return task


def test_a_stream_that_begins_is_kept_with_its_request(store: Store, recorder: TaskRecorder) -> None:
    task = only(store)

    assert (task.id, task.state, task.tier, task.request) == (recorder.id, "running", "chat", KEPT_REQUEST)
    assert (task.next_seq, task.partial.text, task.token, task.error) == (0, "", "", None)
    assert task.deadline == pytest.approx(task.created + 60)


def test_the_first_chunk_is_kept_at_once(store: Store, recorder: TaskRecorder) -> None:
    recorder.received(chunk(0, "Hello"), POINT)

    task = only(store)
    assert (task.next_seq, task.partial.text, task.token) == (1, "Hello", POINT.token())
    assert task.partial.id == "gen-1"
    assert task.partial.finish_reason is None


def test_further_chunks_are_kept_together_after_half_a_second(
    store: Store, recorder: TaskRecorder, clock: Clock
) -> None:
    recorder.received(chunk(0, "a"), POINT)
    assert only(store).next_seq == 1

    for seq in range(1, 100):
        recorder.received(chunk(seq, "b"), POINT)
    assert only(store).next_seq == 1
    clock.now += WRITE_SECONDS
    recorder.received(chunk(100, "c"), POINT)

    task = only(store)
    assert (task.next_seq, task.partial.text) == (101, "a" + 99 * "b" + "c")
    assert list(task.partial.token_ids) == list(range(101))


def test_text_between_two_replicas_is_kept_with_what_follows_it(
    store: Store, recorder: TaskRecorder, clock: Clock
) -> None:
    recorder.received(chunk(0, "a"), POINT)
    clock.now += WRITE_SECONDS
    recorder.received(chunk(1, "b"), None)
    assert (only(store).partial.text, only(store).token) == ("a", POINT.token())

    recorder.received(chunk(2, "c"), ResumePoint("b:1", "gen-2", 1, 2))

    task = only(store)
    assert (task.next_seq, task.partial.text) == (3, "abc")
    assert task.token == ResumePoint("b:1", "gen-2", 1, 2).token()


def test_an_interrupted_stream_keeps_all_that_came_and_says_why(store: Store, recorder: TaskRecorder) -> None:
    recorder.received(chunk(0, "Hello"), POINT)
    recorder.received(chunk(1, " world"), POINT)

    recorder.ended(StreamInterrupted(Reply(GenerateResponse()), APIConnectionError("the connection broke")))

    task = only(store)
    assert (task.state, task.next_seq, task.partial.text) == ("interrupted", 2, "Hello world")
    assert task.error is not None
    assert "the connection broke" in task.error


@pytest.mark.parametrize("error", [None, RequestCancelled("left early"), BadRequestError("wrong"), KeyboardInterrupt()])
def test_what_cannot_go_on_is_not_kept(store: Store, recorder: TaskRecorder, error: BaseException | None) -> None:
    recorder.received(chunk(0, "Hello"), POINT)

    recorder.ended(error)

    assert kept(store) == []


@pytest.mark.parametrize("error", [APIConnectionError("refused"), APITimeoutError("late"), RateLimitError("full")])
def test_a_stream_without_output_is_kept_if_it_can_be_started_again(
    store: Store, recorder: TaskRecorder, error: APIError
) -> None:
    recorder.ended(error)

    task = only(store)
    assert (task.state, task.next_seq, task.error) == ("interrupted", 0, str(error))


def test_a_claimed_task_goes_on_behind_what_is_kept(store: Store, recorder: TaskRecorder, clock: Clock) -> None:
    recorder.received(chunk(0, "Hello"), POINT)
    recorder.ended(APIConnectionError("gone"))

    claimed = store.run(partial(rows.claim, task_id=recorder.id)).result()
    assert claimed is not None
    second = TaskRecorder.of_claimed(store, claimed, clock)
    second.received(chunk(1, " world"), POINT)

    task = only(store)
    assert (task.id, task.state, task.error) == (recorder.id, "running", None)
    assert (task.next_seq, task.partial.text) == (2, "Hello world")


def test_one_of_many_threads_gets_an_interrupted_task(path: Path, store: Store, recorder: TaskRecorder) -> None:
    recorder.ended(APIConnectionError("gone"))
    assert only(store).state == "interrupted"
    claims: list[Task | None] = []

    def claim() -> None:
        own = Store(path)
        claims.append(own.run(partial(rows.claim, task_id=recorder.id)).result())
        own.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(task.state for task in claims if task) == ["interrupted"] + 7 * ["running"]


def test_a_running_task_is_nobody_elses(store: Store, recorder: TaskRecorder) -> None:
    claimed = store.run(partial(rows.claim, task_id=recorder.id)).result()

    assert claimed is not None
    assert claimed.state == "running"


def test_chunks_of_a_forgotten_task_are_dropped(store: Store, recorder: TaskRecorder) -> None:
    store.run(partial(rows.delete, task_id=recorder.id)).result()

    recorder.received(chunk(0, "Hello"), POINT)

    assert kept(store) == []


def test_interrupted_tasks_go_after_a_week(path: Path, store: Store) -> None:
    for age, task_id in ((KEEP_SECONDS + 10, "old"), (KEEP_SECONDS - 10, "young")):
        created = time.time() - age
        store.run(partial(rows.insert, task_id=task_id, request=b"", tier=None, created=created, deadline=None))
        store.run(partial(rows.interrupt, task_id=task_id, error="gone"))

    assert {task.id for task in kept(store)} == {"old", "young"}
    again = Store(path)

    assert {task.id for task in kept(again)} == {"young"}


def test_only_its_owner_may_read_the_file(path: Path, store: Store, recorder: TaskRecorder) -> None:
    assert only(store).id == recorder.id

    files = list(path.parent.iterdir())
    assert path in files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_the_text_of_a_forgotten_task_is_overwritten(path: Path, store: Store, recorder: TaskRecorder) -> None:
    recorder.received(chunk(0, "a great secret"), POINT)
    recorder.ended(None)
    store.close()

    assert b"a great secret" not in path.read_bytes()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + bytes(4096)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(StateFileError, match="damaged, or no SQLite file"):
        Store(path)

    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tasks (id TEXT)")
    connection.close()
    content = path.read_bytes()

    with pytest.raises(StateFileError, match="belongs to another program"):
        Store(path)

    assert path.read_bytes() == content


def test_a_file_of_a_later_version_is_refused(path: Path, store: Store) -> None:
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()

    with pytest.raises(StateFileError, match="has version 7; this penstock reads 1"):
        Store(path)


def test_a_damaged_file_is_refused(path: Path, store: Store, recorder: TaskRecorder) -> None:
    recorder.received(chunk(0, "text " * 10_000), POINT)
    store.close()
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 4] = b"\xff" * 4096 * 3
    path.write_bytes(content)

    with pytest.raises(StateFileError, match="damaged"):
        Store(path)


@pytest.mark.parametrize("missing", ["no/such/directory/state", "."])
def test_a_path_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path, missing: str) -> None:
    with pytest.raises(StateFileError, match=str(tmp_path)):
        Store(tmp_path / missing)


@pytest.mark.parametrize("wrong", [3, b"state", None])
def test_the_path_must_be_a_path(wrong: object) -> None:
    with pytest.raises(TypeError, match="state must be a path"):
        Store(wrong)  # type: ignore[arg-type]


def test_a_file_that_fails_later_does_not_hurt_the_stream(
    path: Path, recorder: TaskRecorder, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    only(store)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE pieces")
    connection.close()

    recorder.received(chunk(0, "Hello"), POINT)
    store.run(lambda connection: None).result()

    assert f"task {recorder.id} could not be kept" in caplog.text


def fill_the_disk(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON pieces BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")


def empty_the_disk(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TRIGGER full")


def test_chunks_whose_write_failed_are_written_with_the_next(
    recorder: TaskRecorder, store: Store, clock: Clock
) -> None:
    recorder.received(chunk(0, "one "), POINT)
    assert only(store).partial.text == "one "

    store.run(fill_the_disk)
    for seq, text in ((1, "two "), (2, "three ")):
        clock.now += WRITE_SECONDS
        recorder.received(chunk(seq, text), POINT)
        assert (only(store).next_seq, only(store).partial.text) == (1, "one ")
    store.run(empty_the_disk)
    clock.now += WRITE_SECONDS
    recorder.received(chunk(3, "four"), POINT)

    assert (only(store).next_seq, only(store).partial.text) == (4, "one two three four")


@pytest.mark.parametrize("fails", [True, False])
def test_a_stream_that_breaks_during_a_write_loses_and_doubles_nothing(
    recorder: TaskRecorder, store: Store, clock: Clock, fails: bool
) -> None:
    recorder.received(chunk(0, "one "), POINT)
    assert only(store).partial.text == "one "
    go_on = threading.Event()
    store.run(lambda connection: go_on.wait(20))
    clock.now += WRITE_SECONDS

    if fails:
        store.run(fill_the_disk)
    recorder.received(chunk(1, "two "), POINT)
    if fails:
        store.run(empty_the_disk)
    recorder.received(chunk(2, "three"), POINT)
    recorder.ended(APIConnectionError("gone"))
    go_on.set()

    task = only(store)
    assert (task.state, task.next_seq, task.partial.text) == ("interrupted", 3, "one two three")


def process(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def test_a_task_is_interrupted_once_its_process_is_killed(path: Path, store: Store) -> None:
    code = """if True:
        import sys, time
        from penstock.resilience.resume_token import ResumePoint
        from penstock.tasks.recorder import TaskRecorder
        from penstock.tasks.store import Store
        from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, SequenceDelta
        store = Store(sys.argv[1])
        recorder = TaskRecorder.of_new(store, GenerateRequest(prompt="Once"), "", None, None)
        recorder.received(GenerateChunk(deltas=[SequenceDelta(text="Hello")]), ResumePoint("a:1", "gen-1", 1))
        store.run(lambda connection: None).result()
        print("kept", flush=True)
        time.sleep(60)
    """
    child = process(code, str(path))
    assert child.stdout is not None
    assert child.stdout.readline() == "kept\n"

    running = only(store)
    child.send_signal(signal.SIGKILL)
    child.wait()

    killed = only(store)
    assert (running.state, killed.state) == ("running", "interrupted")
    assert (killed.partial.text, killed.deadline) == ("Hello", None)
    assert store.run(partial(rows.claim, task_id=killed.id)).result() is not None


def test_what_was_asked_before_the_process_ends_is_written(path: Path) -> None:
    code = """if True:
        import sys
        from penstock.tasks.recorder import TaskRecorder
        from penstock.tasks.store import Store
        from penstock.v1.generation_pb2 import GenerateRequest
        TaskRecorder.of_new(Store(sys.argv[1]), GenerateRequest(prompt="Once"), "", None, None)
    """
    assert process(code, str(path)).wait() == 0

    assert only(Store(path)).request.prompt == "Once"


def test_the_file_can_be_used_and_closed_until_the_process_ends(path: Path) -> None:
    code = """if True:
        import atexit, sys
        made = []
        @atexit.register  # so early, it runs last
        def at_exit():
            store, recorder = made
            print([task.id for task in store.run(rows.everything).result()] == [recorder.id])
            recorder.ended(None)
            store.close()
        from penstock.tasks import rows
        from penstock.tasks.recorder import TaskRecorder
        from penstock.tasks.store import Store
        from penstock.v1.generation_pb2 import GenerateRequest
        made.append(Store(sys.argv[1]))
        made.append(TaskRecorder.of_new(made[0], GenerateRequest(prompt="Once"), "", None, None))
    """
    child = process(code, str(path))

    try:
        assert child.communicate(timeout=30)[0] == "True\n"
    finally:
        child.kill()

    assert kept(Store(path)) == []


def test_the_files_thread_ends_with_its_store(path: Path) -> None:
    others = set(threading.enumerate())
    store = Store(path)
    (thread,) = set(threading.enumerate()) - others

    del store
    gc.collect()

    thread.join(20)
    assert not thread.is_alive()


def test_processes_that_open_a_new_file_together_all_write_to_it(path: Path) -> None:
    code = """if True:
        import sys
        from penstock.tasks.recorder import TaskRecorder
        from penstock.tasks.store import Store
        from penstock.v1.generation_pb2 import GenerateRequest
        sys.stdin.readline()
        store = Store(sys.argv[1])
        for _ in range(20):
            TaskRecorder.of_new(store, GenerateRequest(prompt="Once"), "", None, None)
    """
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    assert [child.wait() for child in children] == [0, 0, 0]

    assert len(kept(Store(path))) == 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_uses_the_file_too(path: Path, store: Store, recorder: TaskRecorder) -> None:
    assert only(store).state == "running"

    def in_child(work: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(lambda: TaskRecorder.of_new(store, REQUEST, "", None, None) and store.close()) == 0

    assert sorted(task.state for task in kept(store)) == ["interrupted", "running"]


def test_a_closed_file_is_opened_again_by_what_comes_later(store: Store, recorder: TaskRecorder) -> None:
    store.close()
    store.close()

    recorder.received(chunk(0, "Hello"), POINT)

    assert only(store).partial.text == "Hello"


def test_a_process_is_told_from_a_later_one_of_the_same_id() -> None:
    assert is_alive(this_process())
    if Path("/proc/self/stat").exists():
        assert not is_alive(f"{os.getpid()}:12345")
