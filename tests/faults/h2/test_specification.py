"""Our server keeps to HTTP/2 wherever grpcio does by itself."""

import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import Running
from tests.faults.h2.specification import QUICK, bare_server, compared, failed_by_us_alone
from tests.programs import find_program

needs_h2spec = pytest.mark.skipif(find_program("h2spec") is None, reason="h2spec is not here: `make test` builds it")


@pytest.mark.slow
@needs_h2spec
async def test_every_case_that_a_bare_server_passes_ours_passes_too(simulated: Running) -> None:
    async with bare_server() as bare_port:
        ours, bare = await compared(simulated.service.grpc_port, bare_port, QUICK)

    assert sum(bare.values()) > 30  # else h2spec has tried little
    assert failed_by_us_alone(ours, bare) == []
    assert await simulated.generation.Generate(pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 1}))
    assert simulated.service.lifecycle.running == simulated.engine.running == 0
