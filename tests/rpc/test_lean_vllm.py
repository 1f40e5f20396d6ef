"""What the lean way through vLLM promises beside the public one: nothing lost, and statistics that still add up."""

import asyncio
import time
import urllib.request
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Ending, Job
from tests.conftest import Running, eventually

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

ASKED = pb.GenerateRequest(
    prompt="Once upon a time",
    sampling={"temperature": 0},
    stopping={"max_tokens": 60, "ignore_eos": True},
    response={"token_ids": True},
)


class Recorder:
    """A receiver that keeps everything."""

    def __init__(self) -> None:
        self.text = ""
        self.token_ids: list[int] = []
        self.error: Exception | None = None
        self.usage: pb.Usage | None = None
        self.over = asyncio.Event()

    def put(self, text: str, token_ids: Sequence[int]) -> None:
        self.text += text
        self.token_ids += token_ids

    def finished(self, ending: Ending, finish: pb.Finish) -> None:
        self.put(ending.text, ending.token_ids)
        self.usage = ending.usage
        self.over.set()

    def failed(self, error: Exception, ending: Ending | None) -> None:
        self.error = error
        self.over.set()


@pytest.mark.parametrize("tokens_before", [0, 5, 60])
async def test_a_request_loses_nothing_however_late_it_is_adopted(real: Running, llm: Any, tokens_before: int) -> None:
    expected = (await real.generation.Generate(ASKED)).sequences[0]
    engine: Any = real.engine
    job = Job(uuid.uuid4().hex, ASKED, time.monotonic(), streamed=True)
    prepared = engine._prepared(job, await engine._prompts.render(ASKED))
    collector = await llm.add_request(job.id, prepared.prompt, prepared.params)
    recorder = Recorder()

    def arrived() -> int:
        return len(collector.output.outputs[0].token_ids) if collector.output else 0

    await eventually(lambda: arrived() >= tokens_before, "tokens have come")
    engine._requests.adopt(collector, job, prepared, recorder)

    await recorder.over.wait()
    assert recorder.error is None
    assert recorder.text == expected.text
    assert recorder.token_ids == list(expected.token_ids)
    assert recorder.usage is not None
    assert recorder.usage.completion_tokens == 60
    assert engine.abort(job.id) is None, "nothing of it is left"


async def test_a_partial_answer_has_the_text_held_back_for_a_stop_text(real: Running) -> None:
    stopping = {"max_tokens": 1000, "ignore_eos": True, "stop": ["never in the text"]}
    partial = pb.GenerateRequest(
        prompt="Once upon a time",
        sampling={"temperature": 0},
        stopping=stopping,
        on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL,
    )

    chunks = [chunk async for chunk in real.generation.StreamGenerate(partial, timeout=1.0)]

    text = "".join(chunk.deltas[0].text for chunk in chunks)
    longer = {"max_tokens": chunks[-1].usage.completion_tokens, "ignore_eos": True}
    whole = await real.generation.Generate(
        pb.GenerateRequest(prompt="Once upon a time", sampling={"temperature": 0}, stopping=longer)
    )
    assert text == whole.sequences[0].text


async def test_sampled_statistics_count_every_token_and_every_request(real: Running) -> None:
    before = await asyncio.to_thread(_metrics, real.service.metrics_port)
    calls = 20

    await asyncio.gather(*(real.generation.Generate(ASKED) for _ in range(calls)))

    def added(name: str) -> float:
        return _metrics(real.service.metrics_port).get(name, 0) - before.get(name, 0)

    await eventually(lambda: added("vllm:generation_tokens_total") >= 60 * calls, "the tokens are counted")
    assert added("vllm:generation_tokens_total") == 60 * calls
    assert added("vllm:request_generation_tokens_sum") == 60 * calls
    assert added("vllm:time_to_first_token_seconds_count") == calls
    assert 0 < added("vllm:inter_token_latency_seconds_count") < 59 * calls / 3


async def test_a_hot_prompt_is_tokenized_once_and_answers_alike(real: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: Any = real.engine._prompts  # type: ignore[attr-defined]
    tokenized: list[str] = []
    original = prompts._tokenized

    async def counting(request: pb.GenerateRequest) -> Any:
        tokenized.append(request.WhichOneof("input") or "")
        return await original(request)

    monkeypatch.setattr(prompts, "_tokenized", counting)
    unheard = f"A story of {uuid.uuid4().hex}"
    turn = pb.Message(role=pb.ROLE_USER, content=[pb.ContentPart(text=unheard)])
    for given in ({"prompt": unheard}, {"conversation": pb.Conversation(messages=[turn])}):
        asked = pb.GenerateRequest(sampling={"temperature": 0}, stopping={"max_tokens": 8}, **given)

        first, second = [await real.generation.Generate(asked) for _ in range(2)]

        assert first.sequences[0].text == second.sequences[0].text
        assert first.usage.prompt_tokens == second.usage.prompt_tokens
    assert tokenized == ["prompt", "conversation"]


def _metrics(port: int | None) -> dict[str, float]:
    """Samples by name, summed over their labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    sums: dict[str, float] = {}
    for line in lines:
        if not line.startswith("#"):
            name, value = line.partition("{")[0].partition(" ")[0], float(line.split()[-1])
            sums[name] = sums.get(name, 0) + value
    return sums
