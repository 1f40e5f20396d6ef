"""The settings of `penstock-gateway`: one validated, frozen object.

Each field can be given, strongest first, as a flag (`--max-body-bytes`), as an environment variable
(`PENSTOCK_GATEWAY_MAX_BODY_BYTES`) and in the TOML file that `--config` or `PENSTOCK_GATEWAY_CONFIG` names.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FilePath, model_validator
from pydantic_settings import CliImplicitFlag, NoDecode, SettingsConfigDict

from penstock import Tls
from penstock.tls import TlsFiles
from penstock_service.configuration import Configuration

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


def _words(given: Any) -> Any:
    return tuple(word for word in re.split(r"[\s,]+", given) if word) if isinstance(given, str) else given


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class Settings(Configuration):
    """Serve OpenAI's HTTP API in front of a Penstock gRPC service."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_GATEWAY_", cli_prog_name="penstock-gateway", use_attribute_docstrings=True
    )

    config: Path | None = None
    "A TOML file with any of these settings, names with underscores."
    upstream: str = Field("localhost:50051", pattern=r"^\S+$", max_length=1024)
    "gRPC target of the Penstock service: host:port, or any target that gRPC resolves."
    upstream_tls: CliImplicitFlag[bool] = False
    "Whether the service is dialled with TLS; upstream_ca and upstream_certificate imply it."
    upstream_ca: FilePath | None = None
    "Authorities that the service's certificate is trusted from, PEM. Default: those of the system."
    upstream_certificate: FilePath | None = None
    "The certificate that the gateway shows to the service (mutual TLS) with its chain, PEM."
    upstream_key: FilePath | None = None
    "Its private key, PEM."
    forward_keys: CliImplicitFlag[bool] = False
    "Whether the service gets each caller's own API key, to know its tenant by. Else the gateway takes any key."
    host: str = Field("127.0.0.1", min_length=1)
    "Address to listen on. HTTP is not encrypted here: beyond loopback, something before the gateway must do that."
    port: Port = 8080
    "Port to listen on; 0 takes a free one."
    max_body_bytes: int = Field(32 << 20, ge=1, le=1 << 30)
    "Largest request body; a larger one is refused with 413."
    timeout_seconds: Seconds | None = None
    "Deadline of a call whose caller names none. Default: none."
    max_timeout_seconds: Seconds | None = None
    "No call may take longer than this, whatever its caller asks for. Default: no limit."
    cors_origin: Words = ()
    "Origin whose web pages may call (`*`: any). Repeat the flag for several; in the environment, part them by commas."
    drain_seconds: float = Field(30, ge=0, le=86_400)
    "How long running requests may go on after SIGTERM."
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    "Least level of the JSON log."
    check_config: CliImplicitFlag[bool] = False
    "Check the settings, print them as JSON and exit."

    @model_validator(mode="after")
    def _a_certificate_has_its_key(self) -> Self:
        if (self.upstream_certificate is None) != (self.upstream_key is None):
            raise ValueError("upstream_certificate and upstream_key belong together: give both or neither")
        return self

    @model_validator(mode="after")
    def _the_files_are_of_use(self) -> Self:
        if (tls := self.tls) is not None:
            TlsFiles(tls)
        return self

    @property
    def tls(self) -> Tls | None:
        """How the service is dialled; None for plain text."""
        if not (self.upstream_tls or self.upstream_ca or self.upstream_certificate):
            return None
        return Tls(self.upstream_ca, self.upstream_certificate, self.upstream_key)
