"""How a stream stands that may turn out to need no call."""

from __future__ import annotations

from penstock.resilience.stream_course import StreamCourse


class LateCourse(StreamCourse):
    """Made without observers, so that nobody hears of a call, or keeps it as a task, before there is one."""

    def begin(self, course: StreamCourse) -> None:
        """A call is needed. For the stream, which has this one already, it is `course` from now on."""
        self.__dict__.update(course.__dict__)
