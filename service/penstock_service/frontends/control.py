"""What the supervisor and a front end tell each other: JSON lines over a socket that ends when either of them does."""

import asyncio
import socket
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from penstock_service.engine.link import Link
from penstock_service.settings import Settings

# Longer than the metrics of a front end ever are.
_MOST_LINE_BYTES = 64 << 20


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Start(_Message):
    """To a front end, first: open your port and get ready to connect."""

    kind: Literal["start"] = "start"
    index: int
    settings: Settings


class EngineStarted(_Message):
    """To a front end: these processes must not outlive the supervisor."""

    kind: Literal["engine_started"] = "engine_started"
    processes: list[int]


class Connect(_Message):
    """To a front end: the engine is ready."""

    kind: Literal["connect"] = "connect"
    link: Link


class EngineDied(_Message):
    """To a front end: no call will get any further."""

    kind: Literal["engine_died"] = "engine_died"


class Stalled(_Message):
    """To a front end: the engine makes no step, or goes on."""

    kind: Literal["stalled"] = "stalled"
    stalled: bool


class Drain(_Message):
    """To a front end: refuse calls, let the running ones finish, then end."""

    kind: Literal["drain"] = "drain"


class Hurry(_Message):
    """To a front end that drains: wait no longer."""

    kind: Literal["hurry"] = "hurry"


class Scrape(_Message):
    """To a front end: send your Measured."""

    kind: Literal["scrape"] = "scrape"


class Listening(_Message):
    """From a front end: its port is open."""

    kind: Literal["listening"] = "listening"


class Loaded(_Message):
    """From a front end: it serves."""

    kind: Literal["loaded"] = "loaded"


class Progress(_Message):
    """From a front end, a few times a second: its jobs in the engine, and the steps that it has heard of."""

    kind: Literal["progress"] = "progress"
    running: int
    steps: int


class Failed(_Message):
    """From a front end, last: why it ends by itself."""

    kind: Literal["failed"] = "failed"
    sentence: str
    configuration: bool = False


class Measured(_Message):
    """From a front end: its metrics as Prometheus text."""

    kind: Literal["measured"] = "measured"
    text: str


Order = Start | EngineStarted | Connect | EngineDied | Stalled | Drain | Hurry | Scrape
Report = Listening | Loaded | Progress | Failed | Measured
Message = Order | Report

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


class Channel:
    """One end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> "Channel":
        """The end that `end` is; it is closed with the channel."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=_MOST_LINE_BYTES))

    def send(self, message: Message) -> None:
        """Send without waiting. What the other process no longer reads is lost with it."""
        if not self._writer.is_closing():
            self._writer.write(message.model_dump_json().encode() + b"\n")

    async def receive(self) -> Message | None:
        """The next message; None when the other process is gone."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return _MESSAGE.validate_json(line) if line.endswith(b"\n") else None

    async def close(self) -> None:
        """Send what is left, then close."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return
        finally:
            self._writer.close()
