"""What grpc.health.v1 says of the service.

name                                     SERVING
"", penstock.v1.Generation and .Models   while calls are admitted: readiness
"liveness"                               for as long as the process answers
"""

from grpc_health.v1.health import aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

READINESS = ("", "penstock.v1.Generation", "penstock.v1.Models")
LIVENESS = "liveness"


class Health:
    """The servicer for every port that answers health checks, and its two transitions."""

    def __init__(self) -> None:
        self.servicer = aio.HealthServicer()

    async def start(self) -> None:
        """Alive, not ready. The servicer itself would start out as SERVING."""
        await self.servicer.set(LIVENESS, HealthCheckResponse.SERVING)
        await self.set_ready(False)

    async def set_ready(self, ready: bool) -> None:
        """Tell whether calls are admitted; watchers hear of it at once."""
        status = HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        for name in READINESS:
            await self.servicer.set(name, status)
