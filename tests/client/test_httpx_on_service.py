"""openai-python over gRPC against the service itself, not a scripted one."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from penstock import AsyncClient
from penstock.openai import http_client
from tests.conftest import Running, eventually

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
EXTRA = {"ignore_eos": True}


def sdk(client: AsyncClient) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(http_client=http_client(client), api_key="-")


async def test_many_streams_at_once_give_what_whole_answers_give(simulated: Running) -> None:
    async with AsyncClient(simulated.address, timeout=30) as client:
        ai = sdk(client)

        async def streamed(number: int) -> str:
            pieces = await ai.completions.create(
                model="", prompt=f"Hello {number}", max_tokens=24, stream=True, extra_body=EXTRA
            )
            return "".join([piece.choices[0].text async for piece in pieces])

        together = await asyncio.gather(*(streamed(number) for number in range(20)))

        whole = [
            await ai.completions.create(model="", prompt=f"Hello {number}", max_tokens=24, extra_body=EXTRA)
            for number in range(20)
        ]
    assert together == [answer.choices[0].text for answer in whole]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_given_up_leaves_the_engine(stuck: Running, stream: bool) -> None:
    async with AsyncClient(stuck.address) as client:
        create: Any = sdk(client).chat.completions.create
        calls = [asyncio.create_task(create(model="", messages=MESSAGES, stream=stream)) for _ in range(3)]
        await eventually(lambda: stuck.engine.running == 3, "the calls run")

        for call in calls:
            call.cancel()

        await eventually(lambda: stuck.engine.running == 0, "the engine is idle")


async def test_a_refused_field_has_openais_name(simulated: Running) -> None:
    async with AsyncClient(simulated.address) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk(client).chat.completions.create(model="", messages=MESSAGES, temperature=9)

    assert caught.value.param == "temperature"
