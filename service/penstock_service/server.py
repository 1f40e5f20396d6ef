"""Builds the two gRPC servers: the service itself, and health alone on a plain port of its own."""

import uuid

import grpc
import structlog

from penstock.v1 import generation_pb2, models_pb2
from penstock_service import reflection
from penstock_service.adapter_loader import AdapterLoader
from penstock_service.adapters import AdapterTable
from penstock_service.authentication import Authentication
from penstock_service.channel_options import channel_options, side_channel_options
from penstock_service.configuration import PortTaken
from penstock_service.deadlines import Deadlines
from penstock_service.door import Door
from penstock_service.generations import Generations
from penstock_service.health import HEALTH, Health
from penstock_service.identity import Identity
from penstock_service.lifecycle import Lifecycle
from penstock_service.models import ModelsServicer
from penstock_service.pacing import LoopLoad, Pace
from penstock_service.recordings import KeepingTerms, Recordings
from penstock_service.refused_calls import RefusedCalls
from penstock_service.servicer import GenerationServicer
from penstock_service.session import SessionTerms
from penstock_service.settings import Settings
from penstock_service.stalls import StallWatch
from penstock_service.telemetry import Telemetry
from penstock_service.tls import server_credentials
from penstock_service.wire import add_service

log = structlog.get_logger()

_GENERATION = generation_pb2.DESCRIPTOR.services_by_name["Generation"]
_MODELS = models_pb2.DESCRIPTOR.services_by_name["Models"]
_HEALTH_MESSAGE_BYTES = 4096


def service_server(
    settings: Settings,
    lifecycle: Lifecycle,
    health: Health,
    telemetry: Telemetry,
    load: LoopLoad,
    stalls: StallWatch,
    door: Door,
) -> tuple[grpc.aio.Server, int]:
    """The server with the whole contract, its port opened but not started; and that port.

    Raises PortTaken, and ConfigurationError for files of TLS or identity that are of no use.
    """
    server = grpc.aio.server(options=channel_options(settings), interceptors=_interceptors(settings, telemetry))
    adapters = AdapterTable()
    generations = Generations(lifecycle, telemetry, stalls, settings.max_held_bytes, adapters, door)
    terms = SessionTerms(
        server_id=uuid.uuid4().hex,
        most_calls=settings.max_concurrent_streams,
        age_seconds=settings.max_connection_age_seconds,
        deadlines=Deadlines.of(settings),
        lifecycle=lifecycle,
        stalls=stalls,
    )
    pace = Pace(load, settings.max_delay_ms)
    keeping = KeepingTerms(settings.grace_seconds, settings.max_kept_bytes, settings.max_kept_bytes_each)
    recordings = Recordings(generations, lifecycle, telemetry, stalls, pace, keeping)
    generation = GenerationServicer(generations, recordings, telemetry, pace, terms, lifecycle, adapters, door)
    loader = AdapterLoader.of(settings, adapters)
    lifecycle.before_serving(loader.load_again)
    add_service(server, _GENERATION, generation)
    add_service(
        server, _MODELS, ModelsServicer(lifecycle, telemetry, adapters, loader, settings.grace_seconds, terms.deadlines)
    )
    health.serve_on(server)
    if settings.reflection:
        reflection.enable(server, *(service.full_name for service in (_GENERATION, _MODELS, HEALTH)))
    port = open_port(server, "grpc_port", settings.host, settings.grpc_port, server_credentials(settings))
    return server, port


def health_server(settings: Settings, health: Health) -> tuple[grpc.aio.Server, int]:
    """The server that kubelet probes: no TLS, no authentication, health alone. Raises PortTaken."""
    options = dict(side_channel_options(settings)) | {"grpc.max_receive_message_length": _HEALTH_MESSAGE_BYTES}
    server = grpc.aio.server(options=list(options.items()))
    health.serve_on(server)
    return server, open_port(server, "health_port", settings.host, settings.health_port)


def _interceptors(settings: Settings, telemetry: Telemetry) -> list[grpc.aio.ServerInterceptor]:
    """None where anybody may call, so that they wait for nothing."""
    if settings.identity_file is None and not settings.api_keys:
        return []
    refused, certificates = RefusedCalls(telemetry.refused), settings.tls_client_ca is not None
    identity = Identity.of(settings)
    if not identity.required:
        log.warning("anybody may call: there are no tenants yet", identity_file=str(settings.identity_file))
    return [Authentication.of_tenants(identity, refused, certificates)]


def open_port(
    server: grpc.aio.Server, setting: str, host: str, port: int, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Open the server's port, which the settings call `setting`. Raises PortTaken."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if credentials is not None:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(setting, host, port) from error
