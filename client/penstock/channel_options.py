"""gRPC's channel options: the client's own, and what one endpoint, a proxy or the caller adds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.version import __version__

Options = Sequence[tuple[str, int | str]]
OptionOverrides = Options | Mapping[str, int | str]

MIB = 1 << 20

# Health checking by the channel (healthCheckConfig) is left out on purpose: while a server says NOT_SERVING such a
# channel fails every call by itself, so that neither the server's typed refusal (LOADING, DRAINING) nor Health.Check
# gets through.
CHANNEL_OPTIONS: Options = (
    ("grpc.max_send_message_length", 32 * MIB),
    ("grpc.max_receive_message_length", 32 * MIB),
    # A silent prefill can outlast what proxies and NATs keep open, so pings go on for as long as a call waits. The
    # server must allow them (http2.min_ping_interval_without_data_ms of at most 20 s); Penstock's does.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # What bounds an unanswered ping (grpcio 1.80 to 1.85) is this one alone; its own default is 60 s.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own backoff grows to 120 s: a client would stay blind for two minutes after an outage.
    ("grpc.initial_reconnect_backoff_ms", 300),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # http_proxy in the environment would take calls to localhost and to cluster addresses too.
    ("grpc.enable_http_proxy", 0),
    # Each channel has a connection of its own. Without it channels with the same options share one, and with it the
    # limit of streams that the peer sets for a connection.
    ("grpc.use_local_subchannel_pool", 1),
    # Transparent retries only (the server's application never saw the call): the service config has no retryPolicy.
    ("grpc.enable_retries", 1),
    ("grpc.primary_user_agent", f"penstock-python/{__version__}"),
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
)

# SingleThreadedUnaryStream is left out on purpose: with it (grpcio 1.85) each cancelled stream leaks about 20 KiB.


def channel_options(overrides: OptionOverrides | None = None, own: Options = ()) -> list[tuple[str, int | str]]:
    """Ours and an endpoint's `own`, each replaced by the override of its name, then the overrides that are new."""
    options = dict(CHANNEL_OPTIONS)
    options.update(own)
    options.update(overrides or ())
    return list(options.items())


def proxy_options(proxy: str | None) -> Options:
    """Connect through an HTTP proxy ("http://host:port" or "host:port") that lets CONNECT through."""
    if proxy is None:
        return ()
    address = arguments.text("proxy", proxy)
    scheme, separator, _ = address.partition("://")
    if not separator:
        address = f"http://{address}"
    elif scheme != "http":
        raise ArgumentValueError("proxy", f"has the scheme {scheme[:16]!r}; gRPC speaks to http:// proxies only")
    return (("grpc.enable_http_proxy", 1), ("grpc.http_proxy", address))


def identity_options(authority: str | None, certified_name: str | None) -> Options:
    """What a server is called that is dialled by its bare address.

    authority: the :authority of calls, "name:port". certified_name: the name that its certificate must have.
    """
    options: list[tuple[str, int | str]] = []
    if authority is not None:
        options.append(("grpc.default_authority", authority))
    if certified_name is not None:
        options.append(("grpc.ssl_target_name_override", certified_name))
    return options
