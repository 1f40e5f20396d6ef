"""The program of an engine's own process: the simulated engine behind stdin and stdout, for `child_engine`.

In: the settings; then ("submit", Job without what only the service needs) and ("abort", job id).
Out: the Model; then a Report whenever something came out, at the latest after each step.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from penstock.v1.generation_pb2 import Finish, SequenceDelta
from penstock_service.engine.base import Ending, Job
from penstock_service.engine.simulated import SimulatedEngine
from tests.faults.frames import Output, Report, framed, next_frame

_PR_SET_PDEATHSIG = 1


class Reporter:
    """Gathers what a step brings into one frame."""

    def __init__(self, engine: SimulatedEngine, out: asyncio.StreamWriter) -> None:
        self._engine = engine
        self._out = out
        self._outputs: list[Output] = []
        self._steps = 0

    def add(self, output: Output) -> None:
        if not self._outputs:
            asyncio.get_running_loop().call_soon(self._send)
        self._outputs.append(output)

    def _send(self) -> None:
        self._steps += 1
        self._out.write(framed(Report(self._steps, self._engine.waiting, self._outputs)))
        self._outputs = []


class Receiving:
    """Receiver of one job."""

    def __init__(self, job_id: str, reporter: Reporter) -> None:
        self._job_id = job_id
        self._reporter = reporter

    def put(self, text: str, token_ids: Sequence[int]) -> None:
        self._reporter.add(Output(self._job_id, text, token_ids))

    def finished(self, ending: Ending, finish: Finish | None) -> None:
        self._reporter.add(Output(self._job_id, ending.text, ending.token_ids, ending, finish))

    def failed(self, error: Exception, ending: Ending | None) -> None:
        """The process ends, which tells everything."""

    def put_delta(self, delta: SequenceDelta) -> None:
        raise NotImplementedError("the simulated engine puts no deltas")

    begins = put_delta


async def main() -> None:
    reader, writer = await _standard_streams()
    engine = await SimulatedEngine.load(await next_frame(reader))
    writer.write(framed(engine.model))
    reporter = Reporter(engine, writer)
    try:
        while True:
            match await next_frame(reader):
                case "submit", Job() as job:
                    await engine.submit(job, Receiving(job.id, reporter))
                case "abort", str(job_id):
                    engine.abort(job_id)
    except asyncio.IncompleteReadError:
        await engine.close()


async def _standard_streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout.buffer)
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


if __name__ == "__main__":
    os.setpgid(0, 0)  # as process_guard has vLLM's engine do: a signal to the service's group is not for it
    # A stopped child could not notice that its parent is gone.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    asyncio.run(main())
