"""Settings of vLLM with which a service refuses to start, and how an operator who means one says so."""

import ast
import importlib.util
import os
import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock_service.configuration import ConfigurationError
from penstock_service.engine.loading import check_engine_arguments
from penstock_service.engine.vllm.dangerous_settings import NAMES, in_arguments, in_environment, refuse
from penstock_service.settings import Settings, settings_from
from tests.rpc.test_process import refused

VARIABLES = [
    "VLLM_ALLOW_INSECURE_SERIALIZATION",
    "VLLM_SERVER_DEV_MODE",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    "VLLM_DISABLE_REQUEST_ID_RANDOMIZATION",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
    "VLLM_LOGGING_CONFIG_PATH",
]

# What vLLM's own parser makes of them is held against the same names where vLLM is installed.
ARGUMENTS = [
    ("trust-remote-code", ["--trust-remote-code"]),
    ("max-logprobs", ["--max-logprobs", "-1"]),
    ("prefix-caching-hash-algo", ["--prefix-caching-hash-algo", "xxhash"]),
    ("prefix-caching-hash-algo", ["--prefix-caching-hash-algo", "xxhash_cbor"]),
    ("pickled-weights", ["--load-format", "pt"]),
    ("pickled-weights", ["--load-format", "npcache"]),
    ("pickled-weights", ["--load-format", "PT"]),  # vLLM takes it in any case
    ("pickled-weights", ["--speculative-config", '{"model": "m", "draft_load_config": {"load_format": "pt"}}']),
    ("pickled-weights", ["--speculative-config", '{"model": "m", "draft-load-config": {"load_format": "pt"}}']),
    ("pickled-weights", ["--speculative-config", '{"model": "m", "draft_load_config": {"load_format": "auto"}}']),
    ("pickled-weights", ["--speculative-config", '{"model": "m", "draft_load_config": {"load_format": "PT"}}']),
    ("pickled-weights", ["--speculative-config", '{"model": "m", "draft_load_config": {}}']),
    ("load-format", ["--load-format", "ipc_cache"]),
    ("hf-token", ["--hf-token", "hf_secret"]),
    ("structured-outputs-config", ["--structured-outputs-config", '{"backend": "outlines"}']),
    ("reasoning-parser-plugin", ["--reasoning-parser-plugin", "plugin.py"]),
    ("reasoning-parser-plugin", ["--structured-outputs-config", '{"reasoning_parser_plugin": "plugin.py"}']),
    ("reasoning-parser-plugin", ["--structured-outputs-config.reasoning_parser_plugin", "plugin.py"]),
    ("logits-processors", ["--logits-processors", "package:Processor"]),
    ("worker-cls", ["--worker-cls", "package.Worker"]),
    ("worker-extension-cls", ["--worker-extension-cls", "package.Extension"]),
    ("scheduler-cls", ["--scheduler-cls", "package.Scheduler"]),
    ("model-class-overrides", ["--model-class-overrides", '{"LlamaForCausalLM": "package:Model"}']),
    ("io-processor-plugin", ["--io-processor-plugin", "plugin"]),
    ("compilation-config", ["--compilation-config", '{"backend": "package.compile"}']),
    ("speculative-config", ["--speculative-config", '{"method": "custom_class", "model": "package.Proposer"}']),
    ("speculative-config", ["--speculative-config", '{"model": "package.Proposer"}']),
    ("speculative-config", ["--spec-model", "package.Proposer"]),
    ("ec-manager-config", ["--ec-manager-config", '{"encoder_cache_manager_cls": "package.Manager"}']),
    ("log-config-file", ["--log-config-file", "logging.json"]),
    ("logging-config", ["--logging-config", '{"pylogging_config_file": "logging.json"}']),
    ("distributed-executor-backend", ["--distributed-executor-backend", "ray"]),
    ("distributed-executor-backend", ["--distributed-executor-backend", "package.Executor"]),
    ("data-parallel-backend", ["--data-parallel-backend", "ray"]),
    ("kv-transfer-config", ["--kv-transfer-config", '{"kv_connector": "NixlConnector", "kv_role": "kv_both"}']),
    ("ec-transfer-config", ["--ec-transfer-config", '{"ec_connector": "Connector", "ec_role": "ec_producer"}']),
    ("kv-events-config", ["--kv-events-config", '{"enable_kv_cache_events": true}']),
    ("weight-transfer-config", ["--weight-transfer-config", '{"backend": "nccl"}']),
    ("nnodes", ["--nnodes", "2"]),
    ("data-parallel-size", ["--data-parallel-size", "2"]),
    ("data-parallel-size-local", ["--data-parallel-size-local", "0"]),
    ("data-parallel-address", ["--data-parallel-address", "192.0.2.7"]),
    ("data-parallel-rank", ["--data-parallel-rank", "0"]),
    ("data-parallel-start-rank", ["--data-parallel-start-rank", "0"]),
    ("data-parallel-hybrid-lb", ["--data-parallel-hybrid-lb"]),
    ("data-parallel-external-lb", ["--data-parallel-external-lb"]),
    ("master-addr", ["--master-addr", "192.0.2.7"]),
    ("kv-offloading-backend", ["--kv-offloading-backend", "lmcache"]),
    ("enable-elastic-ep", ["--enable-elastic-ep"]),
    ("enable-fault-tolerance", ["--enable-fault-tolerance"]),
]
HARMLESS = [
    [],
    ["--max-logprobs", "20"],
    ["--prefix-caching-hash-algo", "sha256_cbor"],
    ["--load-format", "safetensors"],
    ["--load-format", "dummy"],
    ["--hf-token"],  # the one that is stored on the machine
    ["--structured-outputs-config", '{"backend": "xgrammar"}'],
    ["--compilation-config", '{"backend": "eager"}'],
    ["--speculative-config", '{"method": "ngram", "num_speculative_tokens": 2}'],
    ["--speculative-config", '{"model": "owner/draft.v1", "draft_load_config": {"load_format": "safetensors"}}'],
    ["--kv-offloading-backend", "native"],
    ["--distributed-executor-backend", "mp"],
    ["--data-parallel-size", "1", "--data-parallel-size-local", "1"],
    ["--tensor-parallel-size", "2"],
]


def names(dangers: Any) -> list[str]:
    return [danger.name for danger in dangers]


@pytest.fixture(scope="module")
def parsed() -> Any:
    """vLLM's own parser."""
    pytest.importorskip("vllm", reason="vLLM is not installed here: `make test` installs it")
    from penstock_service.engine.vllm.arguments import command_line, parse

    return lambda words: parse([*command_line(Settings()), *words])


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("value", ["1", "true"])
def test_a_dangerous_variable_that_is_on_is_found(variable: str, value: str) -> None:
    assert names(in_environment({variable: value, "PATH": "/bin"})) == [variable]


@pytest.mark.parametrize("value", ["", "0", "false", "False", " 0 "])
def test_a_variable_that_is_off_is_none(value: str) -> None:
    assert names(in_environment(dict.fromkeys(VARIABLES, value))) == []


@pytest.mark.parametrize(("name", "words"), ARGUMENTS, ids=[" ".join(words) for _, words in ARGUMENTS])
def test_a_dangerous_argument_is_found_in_what_vllm_makes_of_it(parsed: Any, name: str, words: list[str]) -> None:
    assert names(in_arguments(parsed(words))) == [name]


def test_engines_of_which_some_are_elsewhere_are_two_dangers(parsed: Any) -> None:
    dangers = in_arguments(parsed(["--data-parallel-size", "2", "--data-parallel-size-local", "1"]))

    assert names(dangers) == ["data-parallel-size", "data-parallel-size-local"]


@pytest.mark.parametrize("words", HARMLESS, ids=" ".join)
def test_what_is_harmless_is_not(parsed: Any, words: list[str]) -> None:
    assert names(in_arguments(parsed(words))) == []


# Functions of vLLM's settings that import what a setting names -> the setting among ours.
IMPORTING = {
    ("compilation", "__post_init__"): "compilation-config",
    ("compilation", "init_backend"): "compilation-config",
    ("ec_manager_config", "get_encoder_cache_manager_obj"): "ec-manager-config",
    ("scheduler", "get_scheduler_cls"): "scheduler-cls",
}
NAMED_LIKE_CODE = {"encoder_cache_manager_cls": "ec-manager-config"}


def test_whatever_in_vllms_settings_imports_code_by_name_is_known(parsed: Any) -> None:
    config = Path(str(importlib.util.find_spec("vllm.config").origin)).parent  # type: ignore[union-attr]
    imports = re.compile(r"\b(resolve_obj_by_qualname|import_module|__import__|import_from_path)\(")
    importing = {
        (file.stem, function.name)
        for file in config.glob("*.py")
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef) and imports.search(ast.unparse(function))
    }

    assert importing == set(IMPORTING)
    assert set(IMPORTING.values()) <= set(NAMES)


def test_every_setting_of_vllm_that_is_named_like_code_is_dangerous(parsed: Any) -> None:
    import vllm.config
    from vllm.engine.arg_utils import AsyncEngineArgs

    classes = [AsyncEngineArgs, *(each for each in vars(vllm.config).values() if is_dataclass(each))]
    like_code = {
        field.name
        for each in classes
        for field in fields(each)
        if re.search(r"(_cls|_class|_class_overrides|_plugin|_passes|^logits_processors)$", field.name)
    }

    known = {**NAMED_LIKE_CODE, "inductor_passes": "compilation-config"}
    assert {known.get(name, name.replace("_", "-")) for name in like_code} <= set(NAMES)


PASSES = '{"inductor_passes": {"a": "penstock_left_pad.run"}}'


@pytest.mark.parametrize(
    "words",
    [
        ["--compilation-config", PASSES],
        [f"-cc={PASSES}"],
        ["--compilation-config.inductor_passes.a", "penstock_left_pad.run"],
        ["--compilation-conf", PASSES.replace("_passes", "\\u005fpasses")],
    ],
    ids=["in full", "short", "by key", "otherwise"],
)
def test_passes_are_refused_before_vllm_imports_them(
    parsed: Any, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock_service.engine.vllm.arguments import parse

    (tmp_path / "penstock_left_pad.py").write_text("run = lambda graph: None")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigurationError, match="--allow compilation-config"):
        parsed(words)
    assert "penstock_left_pad" not in sys.modules

    parse(["--model", "m", *words], ["compilation-config"])
    assert sys.modules.pop("penstock_left_pad")


def test_whatever_vllms_parser_raises_is_an_error_of_the_settings(parsed: Any) -> None:
    from penstock_service.engine.vllm.arguments import parse

    with pytest.raises(ConfigurationError, match="KeyError"):
        parse(["--compilation-config", '{"inductor_passes": {"a": "os.nothing"}}'], ["compilation-config"])


def test_every_name_is_tried_here() -> None:
    assert set(NAMES) == {*VARIABLES, *(name for name, _ in ARGUMENTS)}


def test_a_vllm_that_lacks_some_of_the_arguments_is_judged_by_the_others() -> None:
    assert names(in_arguments(SimpleNamespace(trust_remote_code=True))) == ["trust-remote-code"]


def test_the_refusal_has_a_sentence_for_each_danger_and_names_the_override() -> None:
    dangers = [
        *in_environment({"VLLM_ALLOW_INSECURE_SERIALIZATION": "1"}),
        *in_arguments(SimpleNamespace(trust_remote_code=True)),
    ]

    with pytest.raises(ConfigurationError) as raised:
        refuse(dangers, [])

    assert str(raised.value) == (
        "VLLM_ALLOW_INSECURE_SERIALIZATION: vLLM's processes would run the code in pickles that reach them; "
        "to start all the same, give --allow VLLM_ALLOW_INSECURE_SERIALIZATION; "
        "--trust-remote-code: it runs code that comes with the model; "
        "to start all the same, give --allow trust-remote-code"
    )


def test_what_is_allowed_is_not_refused() -> None:
    dangers = list(in_arguments(SimpleNamespace(trust_remote_code=True, max_logprobs=-1)))

    refuse(dangers, ["trust-remote-code", "max-logprobs"])
    with pytest.raises(ConfigurationError, match=r"^--max-logprobs: [^;]*; to start all the same[^;]*$"):
        refuse(dangers, ["trust-remote-code"])


def test_a_name_that_means_nothing_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings_from(["--engine", "simulated", "--allow", "trust-remote-code,everything"])

    assert "allow: there is no dangerous setting 'everything'; there are VLLM_ALLOW" in str(raised.value)
    assert all(name in str(raised.value) for name in NAMES)


async def test_the_program_ends_with_the_sentence_at_once() -> None:
    ports = ("--grpc-port", "0", "--health-port", "0", "--metrics-port", "none")

    said = await refused(*ports, VLLM_ALLOW_INSECURE_SERIALIZATION="1")

    assert said.splitlines()[-1] == (
        "penstock-serve: VLLM_ALLOW_INSECURE_SERIALIZATION: vLLM's processes would run the code in pickles that reach "
        "them; to start all the same, give --allow VLLM_ALLOW_INSECURE_SERIALIZATION"
    )


def test_check_config_judges_them_too(parsed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="--allow trust-remote-code"):
        check_engine_arguments(Settings(engine_args=("--trust-remote-code",)))

    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    with pytest.raises(ConfigurationError, match="--allow VLLM_SERVER_DEV_MODE"):
        check_engine_arguments(Settings())
    check_engine_arguments(Settings(allow=("VLLM_SERVER_DEV_MODE",)))


def test_arguments_are_judged_together_with_the_settings_that_allow_them(parsed: Any) -> None:
    from penstock_service.engine.vllm.arguments import engine_arguments

    words = ("--max-logprobs", "-1")
    with pytest.raises(ConfigurationError, match="--allow max-logprobs"):
        engine_arguments(Settings(engine_args=words))

    assert engine_arguments(Settings(engine_args=words, allow=("max-logprobs",))).max_logprobs == -1


def test_ports_of_an_engine_on_one_machine_are_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock_service.engine.vllm.arguments import prepare_environment

    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")  # to be put back
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    prepare_environment(Settings(allow=("nnodes",)))
    assert "GLOO_SOCKET_IFNAME" not in os.environ

    prepare_environment(Settings())
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
