"""Settings of vLLM with which a service refuses to start: what each of them opens, and to whom. Pure, without vLLM.

Sources are named as in vLLM 0.32. An operator who means one of them says so: `--allow NAME`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from penstock_service.configuration import ConfigurationError

Arguments = Any  # vllm.engine.arg_utils.AsyncEngineArgs; another version's may lack some of its fields
Environment = Mapping[str, str]

PICKLED_WEIGHTS = "pickled-weights"
SEVERAL_MACHINES = frozenset(
    {
        "nnodes",
        "master-addr",
        "data-parallel-address",
        "data-parallel-size-local",
        "data-parallel-rank",
        "data-parallel-start-rank",
        "data-parallel-hybrid-lb",
        "data-parallel-external-lb",
        "distributed-executor-backend",
        "enable-elastic-ep",
    }
)
"""Those that let an engine reach beyond this machine."""

_COLLISION_RESISTANT = ("sha256", "sha256_cbor")
_VLLMS_OWN_EXECUTORS = (None, "mp", "uni", "external_launcher")
_VLLMS_OWN_COMPILERS = ("", "inductor", "eager")
# With the last two it looks for safetensors first; what `pickled_weights` makes of them, it makes of the model alone.
_PICKLE_FORMATS = ("pt", "npcache")
_DRAFT_PICKLE_FORMATS = (*_PICKLE_FORMATS, "auto", "hf")
_SEVERAL = "engines on several machines talk over ports that ask nobody who they are"
_RUNS_LOGGING_CODE = "the file names code that the logging of each process runs"


class Danger(NamedTuple):
    """A setting as the operator writes it, and what is wrong with it."""

    name: str
    why: str


_COMPILATION = Danger("compilation-config", "its backend and its passes are code by name")

# A variable that vLLM or torch takes as on, and why it must be off.
_VARIABLES = (
    # v1/serial_utils.py
    Danger("VLLM_ALLOW_INSECURE_SERIALIZATION", "vLLM's processes would run the code in pickles that reach them"),
    # entrypoints/launchers/api_server/routers.py
    Danger("VLLM_SERVER_DEV_MODE", "it is vLLM's mode for developers, with open controls and stack traces"),
    # entrypoints/serve/lora/api_router.py
    Danger("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "callers would name adapters by path, beside --adapter-directory"),
    # v1/engine/input_processor.py
    Danger("VLLM_DISABLE_REQUEST_ID_RANDOMIZATION", "two requests of one id would meet in the engine"),
    # config/model.py
    Danger("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "a prompt longer than the model's positions can end the engine"),
    # torch/serialization.py; vLLM itself asks for weights_only, libraries that it calls do not all
    Danger("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "loading a file of tensors could run the code in it"),
    # logger.py
    Danger("VLLM_LOGGING_CONFIG_PATH", _RUNS_LOGGING_CODE),
)


def _other(field: str, why: str, harmless: tuple[object, ...] = ()) -> tuple[Danger, Callable[[Arguments], bool]]:
    """A setting that is dangerous with any other value than those, which are vLLM's own."""
    return Danger(field.replace("_", "-"), why), lambda given: bool(
        _get(given, field) not in (*harmless, None, "", [], {})
    )


def _set(field: str, why: str) -> tuple[Danger, Callable[[Arguments], bool]]:
    return Danger(field.replace("_", "-"), why), lambda given: bool(_get(given, field))


_ARGUMENTS: tuple[tuple[Danger, Callable[[Arguments], bool]], ...] = (
    _set("trust_remote_code", "it runs code that comes with the model"),
    (
        Danger("max-logprobs", "-1 lets one request ask for the whole vocabulary at each token"),
        lambda given: bool(_get(given, "max_logprobs") == -1),
    ),
    (
        Danger("prefix-caching-hash-algo", "two prompts with one hash would share a cache; sha256 has no such pairs"),
        lambda given: bool(_get(given, "prefix_caching_hash_algo") not in (*_COLLISION_RESISTANT, None)),
    ),
    (
        Danger(PICKLED_WEIGHTS, "files of this --load-format are pickles, which can hold code; safetensors cannot"),
        lambda given: _load_format(given) in _PICKLE_FORMATS or _draft_format(given) in _DRAFT_PICKLE_FORMATS,
    ),
    (
        # model_executor/model_loader/weight_cache/protocol.py
        Danger("load-format", "ipc_cache takes pickles from whichever process has its socket"),
        lambda given: "ipc_cache" in (_load_format(given), _draft_format(given)),
    ),
    (
        Danger("hf-token", "every process of the machine can read a secret on a command line; HF_TOKEN is for it"),
        lambda given: isinstance(_get(given, "hf_token"), str),
    ),
    (
        # v1/structured_output: of its libraries, only xgrammar's work is tried in a child that can be ended
        Danger("structured-outputs-config", "nothing bounds what a backend other than xgrammar takes for a schema"),
        lambda given: _get(given, "structured_outputs_config", "backend") not in ("auto", "xgrammar", None),
    ),
    # Code that the settings name.
    (
        # v1/structured_output/__init__.py; EngineArgs puts the first in the place of the second
        Danger("reasoning-parser-plugin", "it runs the file that it names"),
        lambda given: bool(
            _get(given, "reasoning_parser_plugin")
            or _get(given, "structured_outputs_config", "reasoning_parser_plugin")
        ),
    ),
    _other("logits_processors", "it runs code by name in each step of the engine"),
    _other("worker_cls", "it runs code by name in place of vLLM's worker", ("auto",)),
    _other("worker_extension_cls", "it runs code by name in vLLM's worker"),
    _other("scheduler_cls", "it runs code by name in place of vLLM's scheduler"),
    _other("model_class_overrides", "it runs code by name in place of vLLM's model"),
    _other("io_processor_plugin", "it runs code by name on requests"),
    (
        _COMPILATION,
        lambda given: (
            _get(given, "compilation_config", "backend") not in (*_VLLMS_OWN_COMPILERS, None)
            or bool(_get(given, "compilation_config", "inductor_passes"))
        ),
    ),
    (
        # v1/spec_decode/custom_class_proposer.py
        Danger("speculative-config", "method custom_class runs code by name in each step of the engine"),
        lambda given: _proposes_by_code(given),
    ),
    (
        Danger("ec-manager-config", "it runs code by name in place of vLLM's cache of pictures and sounds"),
        lambda given: bool(_get(given, "ec_manager_config", "encoder_cache_manager_cls")),
    ),
    _set("log_config_file", _RUNS_LOGGING_CODE),
    (
        Danger("logging-config", _RUNS_LOGGING_CODE),
        lambda given: bool(_get(given, "logging_config", "pylogging_config_file")),
    ),
    # Ports that ask nobody who they are.
    _other(
        "distributed_executor_backend",
        "Ray runs what reaches its ports, and others run code by name",
        _VLLMS_OWN_EXECUTORS,
    ),
    _other("data_parallel_backend", "Ray runs what reaches its ports", ("mp",)),
    _other("kv_transfer_config", "a connector opens ports that ask nobody who they are, or runs code by name"),
    _other("ec_transfer_config", "a connector opens ports that ask nobody who they are, or runs code by name"),
    (
        # config/kv_events.py: on every interface, unless its endpoint says otherwise
        Danger("kv-events-config", "it publishes the tokens of all prompts on a port that asks nobody who they are"),
        lambda given: bool(_get(given, "kv_events_config", "enable_kv_cache_events")),
    ),
    _other("weight_transfer_config", "whoever reaches it could replace the weights while they serve"),
    _other("kv_offloading_backend", "its server has ports that ask nobody who they are", ("native",)),
    (
        Danger("nnodes", _SEVERAL),
        lambda given: (_get(given, "nnodes") or 1) > 1,
    ),
    _other("master_addr", _SEVERAL, ("127.0.0.1", "localhost", "::1")),
    _other("data_parallel_address", _SEVERAL, ("127.0.0.1", "localhost", "::1")),
    (
        # v1/engine/utils.py while it loads, distributed/parallel_state.py for as long as a mixture of experts runs:
        # the server of torch's TCPStore listens on every interface, whatever host it is given
        Danger("data-parallel-size", "its engines meet at a port on every interface that asks nobody who they are"),
        lambda given: (_get(given, "data_parallel_size") or 1) > 1,
    ),
    (
        Danger("data-parallel-size-local", _SEVERAL),
        lambda given: _elsewhere(given),
    ),
    # One rank of several, the others of which are other services' (0 is a rank).
    (Danger("data-parallel-rank", _SEVERAL), lambda given: _get(given, "data_parallel_rank") is not None),
    (Danger("data-parallel-start-rank", _SEVERAL), lambda given: _get(given, "data_parallel_start_rank") is not None),
    _set("data_parallel_hybrid_lb", _SEVERAL),
    _set("data_parallel_external_lb", _SEVERAL),
    _set("enable_elastic_ep", "its engines talk over ports that ask nobody who they are"),
    _set("enable_fault_tolerance", "its engines talk over ports that ask nobody who they are"),
)

NAMES: tuple[str, ...] = tuple(danger.name for danger in _VARIABLES) + tuple(danger.name for danger, _ in _ARGUMENTS)
"""Every name that `allow` may hold."""


def in_environment(environment: Environment) -> Iterator[Danger]:
    """The dangerous variables that are on."""
    return (
        danger for danger in _VARIABLES if environment.get(danger.name, "").strip().lower() not in ("", "0", "false")
    )


def in_arguments(arguments: Arguments) -> Iterator[Danger]:
    """The dangerous settings among vLLM's arguments."""
    return (danger for danger, is_on in _ARGUMENTS if is_on(arguments))


def in_compilation_config(given: Any) -> Iterator[Danger]:
    """What must be refused in the value of --compilation-config before vLLM reads it: it imports passes meanwhile."""
    if _get(given, "inductor_passes"):
        yield _COMPILATION


def draft_is_loaded_like_the_model(given: Arguments) -> bool:
    """Whether there is a draft that has no load format of its own."""
    return bool(_get(given, "spec_model") or _speculative(given).get("model")) and _draft_format(given) is None


def refuse(dangers: Iterable[Danger], allowed: Iterable[str]) -> None:
    """Raise ConfigurationError with a sentence for each danger that is not among `allowed`."""
    allowed = frozenset(allowed)
    if sentences := [_sentence(danger) for danger in dangers if danger.name not in allowed]:
        raise ConfigurationError("; ".join(sentences))


def unknown(allowed: Iterable[str]) -> list[str]:
    """The names that mean no dangerous setting."""
    return [name for name in allowed if name not in NAMES]


def _sentence(danger: Danger) -> str:
    setting = danger.name if danger.name.isupper() else f"--{danger.name}"
    if danger.name == PICKLED_WEIGHTS:
        setting = "--load-format"
    return f"{setting}: {danger.why}; to start all the same, give --allow {danger.name}"


def _get(given: Arguments, *path: str) -> Any:
    """What lies under a path of fields and keys, None where it ends early."""
    for name in path:
        given = given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
    return given


def _speculative(given: Arguments) -> Mapping[str, Any]:
    """Its keys as EngineArgs.create_speculative_config reads them."""
    return {str(key).replace("-", "_"): value for key, value in (_get(given, "speculative_config") or {}).items()}


def _load_format(given: Arguments) -> str:
    """In lower case, which is how vLLM takes it (config/load.py)."""
    return str(_get(given, "load_format") or "auto").lower()


def _draft_format(given: Arguments) -> str | None:
    """None where the draft is loaded as the model is."""
    config = _speculative(given).get("draft_load_config")
    return None if config is None else _load_format(config)


def _proposes_by_code(given: Arguments) -> bool:
    config = _speculative(given)
    method = _get(given, "spec_method") or config.get("method")
    model = str(_get(given, "spec_model") or config.get("model") or "")
    parts = model.split(".")  # as SpeculativeConfig._is_custom_proposer_path
    by_name = len(parts) > 1 and all(part.isidentifier() for part in parts)
    return method == "custom_class" or (method is None and by_name)


def _elsewhere(given: Arguments) -> bool:
    here = _get(given, "data_parallel_size_local")
    return here is not None and here < (_get(given, "data_parallel_size") or 1)
