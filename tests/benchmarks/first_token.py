"""What the service adds to the time to the first token: StreamGenerate beside AsyncLLM in process, a stream at a time.

    python tests/benchmarks/first_token.py

Both run the built-in model, one call after the other, in turns of ROUNDS; the caller of the service is another process.
"""

import asyncio
import statistics
import sys
import time

import grpc
import uvloop

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock_service.engine.loading import load_engine
from penstock_service.engine.vllm.arguments import prepare_environment
from penstock_service.service import running_service
from penstock_service.settings import Settings

CALLS, ROUNDS, TOKENS = 100, 4, 4
PROMPT = "Once upon a time"


async def main() -> None:
    """Serve and call AsyncLLM in this process; measure the service from a child."""
    settings = Settings(grpc_port=0, health_port=0, metrics_port=None)
    async with running_service(settings, load_engine) as service:
        engine = await service.loading
        direct: list[float] = []
        served: list[float] = []
        for number in range(ROUNDS + 1):
            ours, vllms = await _from_a_child(service.grpc_port), await _directly(engine._llm)  # type: ignore[attr-defined]
            if number:  # the first round warms up
                served += ours
                direct += vllms
    print(f"{ROUNDS * CALLS} calls each, first token in ms: median (90th percentile)")
    for name, times in (("AsyncLLM in process", direct), ("Penstock StreamGenerate", served)):
        print(f"{name:26}{statistics.median(times):7.2f} ({statistics.quantiles(times, n=10)[-1]:.2f})")
    print(f"{'added':26}{statistics.median(served) - statistics.median(direct):7.2f}")


async def _directly(llm: object) -> list[float]:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(
        max_tokens=TOKENS, ignore_eos=True, temperature=0, output_kind=RequestOutputKind.DELTA, skip_clone=False
    )
    times = []
    for number in range(CALLS):
        start, first = time.perf_counter(), 0.0
        async for _ in llm.generate(PROMPT, params, f"{start}-{number}"):  # type: ignore[attr-defined]
            first = first or time.perf_counter() - start
        times.append(1000 * first)
    return times


async def _from_a_child(port: int) -> list[float]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, f"127.0.0.1:{port}", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    return [float(line) for line in out.split()]


def _call(target: str) -> None:
    stopping = {"max_tokens": TOKENS, "ignore_eos": True}
    request = pb.GenerateRequest(prompt=PROMPT, stopping=stopping, sampling={"temperature": 0})
    with grpc.insecure_channel(target) as channel:
        stub = GenerationStub(channel)
        for _ in range(10):
            list(stub.StreamGenerate(request))
        for _ in range(CALLS):
            start = time.perf_counter()
            chunks = stub.StreamGenerate(request)
            next(chunks)
            print(1000 * (time.perf_counter() - start))
            list(chunks)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _call(sys.argv[1])
    else:
        prepare_environment(Settings())
        uvloop.run(main())
