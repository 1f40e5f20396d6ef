"""The messages of a health check. Pure."""

from __future__ import annotations

from penstock import arguments
from penstock.v1.mirrors_pb2 import HealthCheckRequest, HealthCheckResponse


def health_request(service: str) -> HealthCheckRequest:
    """Asks for one service; the empty name is the server as a whole."""
    return HealthCheckRequest(service=arguments.text("service", service))


def serving_status(response: HealthCheckResponse) -> str:
    """grpc.health.v1's name of the status; "UNKNOWN" for one newer than this client."""
    statuses = HealthCheckResponse.ServingStatus
    return statuses.Name(response.status) if response.status in statuses.values() else "UNKNOWN"
