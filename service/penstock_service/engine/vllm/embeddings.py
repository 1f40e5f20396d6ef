"""Vectors of texts, from an AsyncLLM whose model is served for that (vLLM's `--runner pooling`)."""

from contextlib import aclosing, suppress
from typing import Any

from vllm.lora.request import LoRARequest
from vllm.pooling_params import PoolingParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from penstock.v1.generation_pb2 import EmbedInput, EmbedRequest, GenerateRequest
from penstock_service.configuration import ConfigurationError
from penstock_service.embedding_limits import check_input_length
from penstock_service.engine.base import Embedded
from penstock_service.engine.vllm.prompts import Prompts
from penstock_service.engine.vllm.refusals import translated
from penstock_service.errors import FeatureOff
from penstock_service.limits import ModelLimits

# What scales vectors to length 1: its name differs between versions of vLLM.
_NORMALIZE = "use_activation" if "use_activation" in PoolingParams.__struct_fields__ else "normalize"


async def check_served(llm: AsyncLLM) -> None:
    """Raise ConfigurationError for a model of vLLM's that neither generates nor embeds, such as a classifier."""
    tasks = await llm.get_supported_tasks()
    if not {"generate", "embed"} & set(tasks):
        raise ConfigurationError(f"model: it neither generates text nor embeds it; vLLM has it for {', '.join(tasks)}")


class VllmEmbedder:
    """See Embedder. Raises FeatureOff and InvalidRequest for what the model cannot do for `request`."""

    def __init__(
        self,
        llm: AsyncLLM,
        prompts: Prompts,
        limits: ModelLimits,
        request: EmbedRequest,
        lora_request: LoRARequest | None,
    ) -> None:
        self._llm = llm
        self._prompts = prompts
        self._limits = limits
        self._request = request
        self._lora_request = lora_request
        self._params = _params(llm, request)

    async def embed(self, given: EmbedInput, request_id: str) -> Embedded:
        """See Embedder.embed."""
        field = given.WhichOneof("input") or "input"
        with translated(field, self._llm):
            prompt = await self._prompts.render(self._generate_request(given))
            tokens = len(prompt["prompt_token_ids"])
            check_input_length(tokens, field, self._limits)
            return Embedded(await self._vector(prompt, request_id), tokens)

    def _generate_request(self, given: EmbedInput) -> GenerateRequest:
        options = self._request.prompt_options if self._request.HasField("prompt_options") else None
        if given.WhichOneof("input") == "text":
            return GenerateRequest(prompt=given.text, prompt_options=options)
        return GenerateRequest(token_ids=given.token_ids, prompt_options=options)

    async def _vector(self, prompt: Any, request_id: str) -> list[float]:
        data: Any = None
        steps = self._llm.encode(prompt, self._params.clone(), request_id, lora_request=self._lora_request)
        try:
            async with aclosing(steps) as outputs:
                async for output in outputs:
                    data = output.outputs.data
        except BaseException:
            # vLLM registers the request before it awaits the engine's socket, and does not take that back.
            with suppress(EngineDeadError):
                await self._llm.abort(request_id)
            raise
        vector: list[float] = data.float().tolist()
        return vector


def _params(llm: AsyncLLM, request: EmbedRequest) -> PoolingParams:
    config = llm.model_config
    if request.HasField("dimensions") and not config.is_matryoshka:
        raise FeatureOff("dimensions: the model's vectors have one length; leave it out")
    normalize: dict[str, Any] = {_NORMALIZE: request.normalize} if request.HasField("normalize") else {}
    dimensions = request.dimensions if request.HasField("dimensions") else None
    params = PoolingParams(task="embed", dimensions=dimensions, **normalize)
    with translated("dimensions", llm):
        params.verify(config)
    return params
