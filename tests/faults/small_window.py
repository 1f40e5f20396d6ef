"""Options of a client whose server soon notices that nobody reads: little fits into its connection."""

SMALL_WINDOW = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
