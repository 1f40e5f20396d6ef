"""What vLLM logs by default has no text of a caller and none of the model."""

import io
import logging
import multiprocessing
import threading
from collections.abc import Iterator

import pytest

from penstock_service.engine.vllm.private_log import register

DUMP = (
    "SchedulerOutput(scheduled_new_reqs=[NewRequestData(req_id=0af7651916cd-0,prompt_token_ids_len=12,"
    "mm_features=[],sampling_params=SamplingParams(n=1, stop=['CANARY'], structured_outputs=CANARY, req_id=CANARY),"
    "block_ids=([1],),num_computed_tokens=0)], total_num_scheduled_tokens=12)"
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written where vLLM has no handler of its own, with the plugin in place."""
    logger, root, stream = logging.getLogger("vllm"), logging.getLogger(), io.StringIO()
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(stream)])
    level, factory = logger.level, logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)
    register.cache_clear()
    register()
    register()
    logger.setLevel(logging.INFO)
    yield stream
    logger.setLevel(level)
    logging.setLogRecordFactory(factory)


def test_of_a_step_that_failed_ids_and_counts_stay(written: io.StringIO) -> None:
    logging.getLogger("vllm.logging_utils.dump_input").error("Dumping scheduler output for model execution: %s", DUMP)

    assert "CANARY" not in written.getvalue()
    assert "req_id=0af7651916cd-0, prompt_token_ids_len=12, num_computed_tokens=0" in written.getvalue()
    assert "total_num_scheduled_tokens=12" in written.getvalue()


@pytest.mark.parametrize(
    "name", ["vllm.tool_parsers.llama_tool_parser", "vllm.reasoning.qwen3", "vllm.parser.abstract"]
)
def test_of_a_parser_only_that_it_said_something_stays(written: io.StringIO, name: str) -> None:
    logging.getLogger(name).warning("Regex timeout occurred when matching user input: %s", "CANARY")
    try:
        raise ValueError("CANARY")
    except ValueError:
        logging.getLogger(name).exception("Error in streaming tool calls: CANARY")

    assert "CANARY" not in written.getvalue()
    assert len(written.getvalue().splitlines()) == 2
    assert "(ValueError)" in written.getvalue()


@pytest.mark.parametrize("name", ["vllm.v1.engine.core", "vllm.v1.structured_output"])
def test_of_an_error_its_kind_and_its_frames_stay_and_no_message(written: io.StringIO, name: str) -> None:
    try:
        try:
            raise KeyError("CANARY")
        except KeyError as first:
            raise ValueError("CANARY") from first
    except ValueError:
        logging.getLogger(name).exception("EngineCore encountered a fatal error.")

    assert "CANARY" not in written.getvalue().replace('Error("CANARY")', "")  # the lines of this file
    assert "ValueError\n" in written.getvalue()
    assert "KeyError\n" in written.getvalue()
    assert "test_private_log.py" in written.getvalue()


def test_of_an_error_within_a_sentence_its_kind_stays_and_no_message(written: io.StringIO) -> None:
    rejected = ValueError("CANARY")

    logging.getLogger("vllm.renderers.hf").warning("Chat template rejected the request (%d): %s", 1, rejected)

    assert written.getvalue() == "Chat template rejected the request (1): ValueError\n"


def test_of_what_ends_the_engines_process_python_prints_no_message_either(capfd: pytest.CaptureFixture[str]) -> None:
    process = multiprocessing.get_context("spawn").Process(target=end_with_a_caller_text)
    process.start()
    process.join(30)

    printed = capfd.readouterr().err
    assert process.exitcode == 1
    assert printed.count("ValueError") == 2
    assert "in end_with_a_caller_text" in printed
    assert "CANARY" not in printed


def end_with_a_caller_text() -> None:
    register()
    text = "CANARY"[:]
    thread = threading.Thread(target=int, args=(text,))
    thread.start()
    thread.join()
    int(text)


def test_why_the_engine_does_not_start_stays_for_nobody_has_called_yet(written: io.StringIO) -> None:
    try:
        raise ValueError("no room for the KV cache")
    except ValueError:
        logging.getLogger("vllm.v1.engine.core").exception("EngineCore failed to start.")

    assert "ValueError: no room for the KV cache" in written.getvalue()


def test_other_loggers_are_left_alone(written: io.StringIO) -> None:
    logging.getLogger("vllmers").error("Dumping scheduler output: %s", "theirs")

    assert written.getvalue() == "Dumping scheduler output: theirs\n"


def test_what_else_vllm_says_stays(written: io.StringIO) -> None:
    logging.getLogger("vllm.v1.engine.core").error("%s", "the engine has stopped")

    assert written.getvalue() == "the engine has stopped\n"


def test_an_operator_who_asks_for_it_sees_everything(written: io.StringIO) -> None:
    logging.getLogger("vllm").setLevel(logging.DEBUG)

    logging.getLogger("vllm.logging_utils.dump_input").error("Dumping scheduler output for model execution: %s", DUMP)

    assert "CANARY" in written.getvalue()
