"""What a health check of an ejected endpoint tells. Pure."""

from __future__ import annotations

import grpc

from penstock.v1.mirrors_pb2 import HealthCheckRequest, HealthCheckResponse

# Longer than gRPC's longest pause between two attempts to connect (grpc.max_reconnect_backoff_ms).
PROBE_SECONDS = 6.0

# The server as a whole.
PROBE = HealthCheckRequest()

_SILENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def takes_calls(status: grpc.StatusCode, response: HealthCheckResponse | None) -> bool:
    """Whether the endpoint is worth a call. A server that refuses to tell its health is there, and may be well."""
    if response is None:
        return status not in _SILENT
    return response.status != HealthCheckResponse.NOT_SERVING
