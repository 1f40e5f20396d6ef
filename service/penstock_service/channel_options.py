"""The limits of a connection, as gRPC's channel options. The client's are their counterpart (penstock.channel_options).

gRPC ignores a name that it does not know without a word; tests/rpc/test_connection_limits.py exceeds each of these.
"""

from penstock_service.settings import Settings

Options = list[tuple[str, int]]

_SIDE_MESSAGE_BYTES = 1 << 20
_IDENTITY_ONLY = 1  # the bits of grpc_compression_algorithm: 1 identity, 2 deflate, 4 gzip


def channel_options(settings: Settings) -> Options:
    """Of the service's own port."""
    return [
        *_connection(settings),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Front ends share their port, among which the kernel spreads connections; else no two servers must by accident.
        ("grpc.so_reuseport", int(settings.frontends > 1)),
    ]


def side_channel_options(settings: Settings) -> Options:
    """Of a port beside it, such as that of health: its messages are small and no two processes share it."""
    return [
        *_connection(settings),
        ("grpc.max_receive_message_length", _SIDE_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _SIDE_MESSAGE_BYTES),
        ("grpc.so_reuseport", 0),
    ]


def _connection(settings: Settings) -> Options:
    return [
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        # Above the first gRPC refuses by chance, the likelier the larger; above the second always. Traces, keys and
        # routing need a fraction of it.
        ("grpc.max_metadata_size", 8 << 10),
        ("grpc.absolute_max_metadata_size", 16 << 10),
        # A few KiB can inflate to as much as memory holds, before any limit is looked at.
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
        # A silent prefill sends nothing for long: clients may ping every 10 s (ours do every 20 s). gRPC's default of
        # 300 s would answer them with GOAWAY. The name has no `recv` in it; that spelling is silently ignored.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 60_000),
        # The first is what gRPC tells the kernel (TCP_USER_TIMEOUT). It waits for the answer to its own ping by the
        # second alone (grpcio 1.80 to 1.85, writing.cc), whose default is 60 s.
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.ping_timeout_ms", 20_000),
        # Until the peer's preface and SETTINGS, TLS included, have come.
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", 3_600_000),
        ("grpc.max_connection_age_ms", round(1000 * settings.max_connection_age_seconds)),
        ("grpc.max_connection_age_grace_ms", round(1000 * settings.max_connection_age_grace_seconds)),
    ]
