"""Builds the two gRPC servers: the service itself, and health alone on a plain port of its own."""

import uuid

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2, models_pb2
from penstock_service import reflection
from penstock_service.adapter_loader import AdapterLoader
from penstock_service.adapters import AdapterTable
from penstock_service.configuration import PortTaken
from penstock_service.generations import Generations
from penstock_service.health import Health
from penstock_service.lifecycle import Lifecycle
from penstock_service.models import ModelsServicer
from penstock_service.pacing import LoopLoad, Pace
from penstock_service.recordings import KeepingTerms, Recordings
from penstock_service.servicer import GenerationServicer
from penstock_service.session import SessionTerms
from penstock_service.settings import Settings
from penstock_service.stalls import StallWatch
from penstock_service.telemetry import Telemetry
from penstock_service.wire import add_service

_GENERATION = generation_pb2.DESCRIPTOR.services_by_name["Generation"]
_MODELS = models_pb2.DESCRIPTOR.services_by_name["Models"]
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]


def channel_options(settings: Settings) -> list[tuple[str, int]]:
    """The limits of a connection. The client's options are their counterpart (penstock/channel_options.py)."""
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        # Above the first gRPC refuses by chance, the likelier the larger; above the second always. Traces, keys and
        # routing need a fraction of it.
        ("grpc.max_metadata_size", 8 << 10),
        ("grpc.absolute_max_metadata_size", 16 << 10),
        # A silent prefill sends nothing for long: clients may ping every 10 s (ours do every 20 s). gRPC's default of
        # 300 s would answer them with GOAWAY. The name has no `recv` in it; that spelling is silently ignored.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_connection_age_ms", round(1000 * settings.max_connection_age_seconds)),
        ("grpc.max_connection_age_grace_ms", round(1000 * settings.max_connection_age_grace_seconds)),
        # Front ends share their port, among which the kernel spreads connections; else no two servers must by accident.
        ("grpc.so_reuseport", int(settings.frontends > 1)),
    ]


def service_server(
    settings: Settings, lifecycle: Lifecycle, health: Health, telemetry: Telemetry, load: LoopLoad, stalls: StallWatch
) -> tuple[grpc.aio.Server, int]:
    """The server with the whole contract, its port opened but not started; and that port. Raises PortTaken."""
    server = grpc.aio.server(options=channel_options(settings))
    adapters = AdapterTable()
    generations = Generations(lifecycle, telemetry, stalls, settings.max_held_bytes, adapters)
    terms = SessionTerms(
        server_id=uuid.uuid4().hex,
        most_calls=settings.max_concurrent_streams,
        age_seconds=settings.max_connection_age_seconds,
        drain_begun=lifecycle.drain_begun,
        stalls=stalls,
    )
    pace = Pace(load, settings.max_delay_ms)
    keeping = KeepingTerms(settings.grace_seconds, settings.max_kept_bytes, settings.max_kept_bytes_each)
    recordings = Recordings(generations, lifecycle, telemetry, stalls, pace, keeping)
    generation = GenerationServicer(generations, recordings, telemetry, pace, terms, lifecycle, adapters)
    loader = AdapterLoader.of(settings, adapters)
    add_service(server, _GENERATION, generation)
    add_service(server, _MODELS, ModelsServicer(lifecycle, telemetry, adapters, loader, settings.grace_seconds))
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    if settings.reflection:
        reflection.enable(server, *(service.full_name for service in (_GENERATION, _MODELS, _HEALTH)))
    return server, _open(server, "grpc_port", settings.host, settings.grpc_port)


def health_server(settings: Settings, health: Health) -> tuple[grpc.aio.Server, int]:
    """The server that kubelet probes: no TLS, no authentication, health alone. Raises PortTaken."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    return server, _open(server, "health_port", settings.host, settings.health_port)


def _open(server: grpc.aio.Server, setting: str, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(setting, host, port) from error
