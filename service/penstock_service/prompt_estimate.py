"""How many tokens a prompt is likely to have, before anybody tokenizes it. Pure: it learns from what has ended."""

from penstock.v1.generation_pb2 import EmbedInput, GenerateRequest
from penstock_service.limits import prompt_bytes, text_bytes
from penstock_service.long_conversations import is_long
from penstock_service.moving_mean import MovingMean

# Of English text; more of a prompt would wait for too little room than for too much.
_BYTES_PER_TOKEN = 4.0
# However odd the prompts were that were learnt from: one caller's are everybody's estimate.
_LEAST_TOKENS_PER_BYTE, _MOST_TOKENS_PER_BYTE = 1 / 16, 1.0


class PromptEstimate:
    """Tokens by bytes, as the last prompts had them."""

    def __init__(self) -> None:
        self._bytes, self._tokens = MovingMean(), MovingMean()

    def tokens(self, request: GenerateRequest, context_length: int) -> int:
        """Of each of its sequences. Given tokens are counted; more than the context has is refused later."""
        most = context_length
        if request.prompt_options.HasField("truncate_tokens"):
            most = min(most, request.prompt_options.truncate_tokens)
        enough = most / _LEAST_TOKENS_PER_BYTE
        return min(len(request.token_ids.ids) or self._of_bytes(prompt_bytes(request, enough)), most)

    def tokens_to_embed(self, given: EmbedInput, context_length: int) -> int:
        """Of one input."""
        enough = context_length / _LEAST_TOKENS_PER_BYTE
        return min(len(given.token_ids.ids) or self._of_bytes(text_bytes(given.text, enough)), context_length)

    def learn(self, request: GenerateRequest, tokens: int) -> None:
        """A prompt turned out to have so many."""
        if is_long(request) or request.prompt_options.HasField("truncate_tokens") or _has_media(request):
            return  # to look at the long ones takes too long, and of the others the tokens are not by the bytes
        if tokens > 0 and (size := prompt_bytes(request)):
            self._bytes.add(size)
            self._tokens.add(tokens)

    def _of_bytes(self, size: int) -> int:
        if self._bytes.value is None or self._tokens.value is None:
            return max(round(size / _BYTES_PER_TOKEN), 1)
        tokens_per_byte = self._tokens.value / self._bytes.value
        return max(round(size * min(max(tokens_per_byte, _LEAST_TOKENS_PER_BYTE), _MOST_TOKENS_PER_BYTE)), 1)


def _has_media(request: GenerateRequest) -> bool:
    messages = request.conversation.messages
    return any(part.WhichOneof("part") != "text" for message in messages for part in message.content)
