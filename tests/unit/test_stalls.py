"""Who is found not to read."""

from penstock_service.stalls import StallWatch


class Stream:
    def __init__(self) -> None:
        self.read: int | None = 0
        self.found_slow = 0

    def progress(self) -> int | None:
        return self.read

    def too_slow(self) -> None:
        self.found_slow += 1


def test_only_what_has_not_moved_for_so_long_is_slow() -> None:
    watch = StallWatch(stall_seconds=30)
    still, moving, idle = Stream(), Stream(), Stream()
    idle.read = None
    with watch.watching(still), watch.watching(moving), watch.watching(idle):
        for now in (1000, 1010, 1020, 1029):
            watch.look(now)
            moving.read = now
        assert still.found_slow == 0

        watch.look(1030)

    assert (still.found_slow, moving.found_slow, idle.found_slow) == (1, 0, 0)


def test_what_is_no_longer_watched_is_forgotten() -> None:
    watch = StallWatch(stall_seconds=30)
    stream = Stream()
    with watch.watching(stream):
        watch.look(0)

    watch.look(1000)

    assert stream.found_slow == 0
