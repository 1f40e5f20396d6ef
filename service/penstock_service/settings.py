"""The settings of `penstock-serve`: one validated, frozen object.

Each field can be given, strongest first, as a flag (`--grpc-port`), as an environment variable (`PENSTOCK_GRPC_PORT`)
and in the TOML file that `--config` or `PENSTOCK_CONFIG` names. What follows `--` on the command line goes to vLLM.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    DirectoryPath,
    Field,
    FilePath,
    field_validator,
    model_validator,
)
from pydantic_settings import CliImplicitFlag, CliSuppress, NoDecode, SettingsConfigDict

from penstock_service.binding import beyond_loopback
from penstock_service.configuration import Configuration, load
from penstock_service.engine.vllm import dangerous_settings
from penstock_service.identity_file import tenants_of_short_form
from penstock_service.limit_table import MOST_DELAY_MS

BUILTIN = "builtin"

Port = Annotated[int, Field(ge=0, le=65535)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(lambda given: _names(given))]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class SimulatedSettings(BaseModel):
    """The timing model of `--engine simulated`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    step_time_ms: float = Field(2.5, gt=0, le=60_000)
    "Time of one engine step, in which each running sequence gains a token."
    prefill_tokens_per_second: float = Field(50_000, gt=0, allow_inf_nan=False)
    "How fast prompts are read; reading a prompt lengthens the step that does it."
    max_concurrent_sequences: int = Field(256, ge=1, le=65_536)
    "Sequences in one step; more wait."
    context_length: int = Field(4096, ge=2, le=1 << 24)
    "The most tokens that prompt and output have together."
    kv_cache_tokens: int = Field(262_144, ge=1)
    "Room for the tokens of all running sequences, prompt and longest output; a sequence waits until its own fit."
    load_seconds: float = Field(0, ge=0, le=3600)
    "How long loading takes."


class Settings(Configuration):
    """Serve text generation over gRPC. What follows `--` goes to vLLM verbatim."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_", cli_prog_name="penstock-serve", use_attribute_docstrings=True
    )

    config: Path | None = None
    "A TOML file with any of these settings, names with underscores."
    engine: Literal["vllm", "simulated"] = "vllm"
    "What generates: vLLM, or a deterministic simulation for integration and load tests."
    model: str = Field(BUILTIN, min_length=1, max_length=1024)
    "`builtin` (a small model that comes along), a directory, or a name that vLLM resolves."
    served_model_name: str | None = Field(None, min_length=1, max_length=512)
    "The model's name in requests and replies. Default: --model, of a directory the last part."
    adapter_directory: DirectoryPath | None = None
    "Where LoRA adapters lie, as NAME/VERSION/adapter_model.safetensors with its adapter_config.json. Default: none."
    frontends: int = Field(1, ge=1, le=64)
    "Processes that serve calls from the one engine; more than one when a single one cannot keep up with it."
    host: str = Field("127.0.0.1", min_length=1)
    "Address on which every port but admin_port is opened. Beyond loopback it needs TLS, or --insecure."
    insecure: CliImplicitFlag[bool] = False
    "Serve beyond loopback without TLS: the network protects the connections, and the keys on them."
    tls_certificate: FilePath | None = None
    "The server's certificate with its chain, PEM; read again when it changes. Default: none, connections in the clear."
    tls_key: FilePath | None = None
    "Its private key, PEM."
    tls_client_ca: FilePath | None = None
    "Authorities whose certificates callers must show (mutual TLS), PEM. Default: none, callers show no certificate."
    identity_file: FilePath | None = None
    "Who may call, as TOML: hashed API keys, certificate names and quotas of tenants; read again when it changes."
    api_keys: Names = ()
    "The same in short, TENANT:SHA256 separated by commas; PENSTOCK_API_KEYS is meant for it. Default: anybody calls."
    grpc_port: Port = 50051
    "Port of the service itself; 0 takes a free one."
    health_port: Port = 50052
    "Port of grpc.health.v1 alone, for probes; 0 takes a free one."
    metrics_port: Port | None = 9464
    "Port of the Prometheus endpoint /metrics; 0 takes a free one, `none` opens none."
    admin_port: Port | None = None
    "Port of penstock.v1.Operations, with one front end; 0 takes a free one. Default: `none`, no such port."
    admin_host: str = Field("127.0.0.1", min_length=1)
    "Address on which admin_port is opened. Beyond loopback it needs keys, and TLS or --insecure."
    lame_duck_seconds: Seconds = 0
    "How long the service goes on admitting calls after SIGTERM, unready, until balancers have noticed."
    drain_seconds: Seconds = 30
    "How long running calls may go on after that."
    engine_stall_seconds: Seconds = Field(9, gt=0)
    "How long the engine may make no step while it has work; past that the service is unready until it goes on."
    engine_hang_seconds: Seconds = Field(55, gt=0)
    "The same, past which the engine counts as dead: its calls end with UNAVAILABLE, and it is killed."
    engine_restarts: int = Field(0, ge=0, le=100)
    "How often within ten minutes a dead engine is started again in place; past that the service ends with status 1."
    default_deadline_seconds: Seconds = Field(600, gt=0)
    "How long a call may take whose caller has set no deadline; not above max_deadline_seconds."
    max_deadline_seconds: Seconds = Field(3600, gt=0)
    "How long any call may take, whatever deadline its caller has set."
    max_admitted_sequences: int | None = Field(None, ge=1, le=1 << 20)
    "Sequences that run or wait at most. Default: half more than the engine runs at once, 32 more at the least."
    max_queued_tokens: int | None = Field(None, ge=1)
    "Prompt tokens that wait for the engine; calls beyond are refused. Default: 32 times the context length."
    max_wait_seconds: Seconds = Field(10, gt=0)
    "The longest predicted wait for the engine with which a call is still admitted."
    max_tenant_share: float = Field(0.5, gt=0, le=1)
    "The share of what the others leave that one tenant has while they want some; an equal part if that is more."
    max_message_bytes: int = Field(32 << 20, ge=1024, le=1 << 30)
    "Largest message, of a request and of a reply."
    max_concurrent_streams: int = Field(1024, ge=1, le=1 << 20)
    "Calls that one connection may have open; a client's further ones wait inside the client."
    max_connections: int = Field(4096, ge=1, le=1 << 20)
    "Connections that a port may have open, for each front end; further ones are closed at once."
    max_connection_age_seconds: Seconds = Field(1800, gt=0)
    "Past this age (with 10 % jitter) a connection takes no new calls, so that clients come to see new replicas."
    max_connection_age_grace_seconds: Seconds = Field(3600, gt=0)
    "How long the calls of a connection past its age may go on; longer than the longest generation."
    tool_parser: str | None = Field(None, max_length=64)
    "vLLM's parser that finds calls of tools in the model's text, by its name. Default: the built-in model's, or none."
    template_arguments: Names = ()
    "Variables of the chat template that callers may set, by name, separated by commas."
    media_hosts: Names = ()
    "Hosts (or HOST:PORT) from which pictures and sounds named by URL are fetched, separated by commas."
    max_delay_ms: int = Field(10, ge=0, le=MOST_DELAY_MS)
    "How long a busy server may hold back a stream's new output to send it with what follows, unless its caller says."
    max_held_bytes: int = Field(128 << 10, ge=1024, le=1 << 30)
    "How much output a stream's generation holds for a caller that does not read; more ends it."
    max_stall_seconds: Seconds = Field(30, gt=0)
    "How long a caller may read nothing of what is there for it; longer ends the stream."
    grace_seconds: Seconds = 30
    "How long a resumable generation goes on without a reader, and is kept after its end; 0 takes no such generations."
    max_kept_bytes: int = Field(64 << 20, ge=1 << 16, le=1 << 40)
    "Output of resumable generations that is kept for their readers, of all together; the oldest goes first."
    max_kept_bytes_each: int = Field(4 << 20, ge=8192, le=1 << 40)
    "The same, of each of them; 4 MiB are some 40 000 tokens as text, or 6 000 with twenty logprobs each."
    allow: Names = ()
    "Dangerous settings of vLLM's to start with all the same, by name, separated by commas; the refusal tells the name."
    reflection: CliImplicitFlag[bool] = True
    "Whether server reflection is offered."
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    "Least level of the JSON log."
    engine_args: CliSuppress[Annotated[tuple[str, ...], NoDecode, BeforeValidator(lambda given: _words(given))]] = ()
    "vLLM's own arguments: after `--` on the command line, one shell-quoted string in the environment."
    simulated: SimulatedSettings = SimulatedSettings()
    "The timing model of the simulated engine."
    check_config: CliImplicitFlag[bool] = False
    "Check the settings, print them as JSON and exit."

    @model_validator(mode="after")
    def _a_stall_comes_before_a_hang(self) -> Self:
        if (stall := self.engine_stall_seconds) > (hang := self.engine_hang_seconds):
            raise ValueError(f"engine_stall_seconds is {stall:g}, more than engine_hang_seconds, which is {hang:g}")
        return self

    @model_validator(mode="after")
    def _connections_are_protected(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            given, missing = ("tls_key", "tls_certificate") if self.tls_key else ("tls_certificate", "tls_key")
            raise ValueError(f"{given} is given without {missing}: they belong together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca is given without tls_certificate and tls_key: it needs TLS")
        self._check_protected("host", self.host)
        return self

    @model_validator(mode="after")
    def _the_admin_port_is_protected(self) -> Self:
        if self.admin_port is not None and self.frontends > 1:
            raise ValueError(
                f"admin_port is {self.admin_port}, but frontends is {self.frontends}, and Operations needs to see all "
                "calls in one process: leave one of them out"
            )
        if self.admin_port is not None:
            self._check_protected("admin_host", self.admin_host)
        return self

    @field_validator("allow")
    @classmethod
    def _allowed_are_known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := dangerous_settings.unknown(given):
            known = ", ".join(dangerous_settings.NAMES)
            raise ValueError(f"there is no dangerous setting {unknown[0]!r}; there are {known}")
        return given

    @field_validator("api_keys", mode="before")
    @classmethod
    def _given_api_keys_are_some(cls, given: Any) -> Any:
        if isinstance(given, str) and not _names(given):
            raise ValueError("has no TENANT:SHA256 in it, so that anybody could call; leave it out where that is meant")
        return given

    @field_validator("api_keys")
    @classmethod
    def _api_keys_are_hashes(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        tenants_of_short_form(given)
        return given

    @model_validator(mode="after")
    def _arguments_have_an_engine(self) -> Self:
        if self.engine == "simulated" and self.engine_args:
            raise ValueError("the simulated engine takes no arguments after `--`; its own flags are --simulated.*")
        if self.engine_restarts and self.frontends > 1:
            raise ValueError(
                f"engine_restarts is {self.engine_restarts}, but front ends (here {self.frontends}) cannot be connected"
                " to another engine: leave it 0, and let the platform restart the service"
            )
        if self.engine == "simulated" and self.frontends > 1:
            raise ValueError(
                f"frontends is {self.frontends}, but the simulated engine lives in one process: leave it 1"
            )
        for word in self.engine_args:
            if (flag := word.split("=")[0].replace("_", "-")) in ("--model", "--served-model-name"):
                raise ValueError(f"{flag} is our own flag as well: give it before the `--`")
        return self

    def _check_protected(self, name: str, host: str) -> None:
        if self.tls_certificate is None and not self.insecure and beyond_loopback(host):
            raise ValueError(
                f"{name} is {host!r}, which others than this machine may reach: give tls_certificate and tls_key, "
                "or insecure where the network itself protects the connections"
            )

    @property
    def tool_parser_name(self) -> str:
        """The parser for calls of tools, empty for none."""
        return self.tool_parser if self.tool_parser is not None else "hermes" if self.model == BUILTIN else ""

    @property
    def model_name(self) -> str:
        """The name under which the model is served."""
        return self.served_model_name or (Path(self.model).resolve().name if Path(self.model).is_dir() else self.model)


def settings_from(argv: Sequence[str]) -> Settings:
    """Read the settings from a command line, the environment and the config file. Raises ConfigurationError."""
    if "--" not in argv:
        return load(Settings, argv)
    split = list(argv).index("--")
    return load(Settings, argv[:split], engine_args=tuple(argv[split + 1 :]))


def _names(given: Any) -> Any:
    return tuple(filter(None, (name.strip() for name in given.split(",")))) if isinstance(given, str) else given


def _words(given: Any) -> Any:
    return shlex.split(given) if isinstance(given, str) else given
