"""What a busy service starts does begin."""

import asyncio
import json
import os
import sys

# A service under load, on the loop and with the gRPC of `penstock-serve`, that starts processes as that does.
PROGRAM = """
import penstock_service.__main__
import asyncio, json
from collections import Counter
import grpc, uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

async def main():
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=own) for _ in range(4)]

    async def calls(channel):
        while True:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    busy = [asyncio.create_task(calls(channel)) for channel in channels for _ in range(4)]
    statuses = Counter()
    for _ in range(100):
        process = await asyncio.create_subprocess_exec("true", start_new_session=True)
        statuses[await process.wait()] += 1
    print(json.dumps(statuses), flush=True)
    for task in busy:
        task.cancel()

uvloop.run(main())
"""


async def test_no_process_that_is_started_while_grpc_is_busy_crashes_before_it_begins() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM), stdout=asyncio.subprocess.PIPE, env=environment
    )
    said, _ = await program.communicate()

    assert json.loads(said) == {"0": 100}
