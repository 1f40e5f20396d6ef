"""What fields of a request must be to each other, beyond the limits of each. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterator

from penstock.v1 import generation_pb2 as pb
from penstock_service import constraint_limits, media_limits
from penstock_service.errors import Violation
from penstock_service.limit_table import MOST_MESSAGES, MOST_PARTS, MOST_PARTS_IN_ALL, MOST_TOOLS
from penstock_service.plain_messages import MessageToCheck

# OpenAI's rule for names of functions.
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
CALLERS_NAME = re.compile(r"[A-Za-z0-9._:/=+-]*")
ARGUMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def violations(
    request: pb.GenerateRequest, context_length: int, to_check: Collection[MessageToCheck]
) -> Iterator[Violation]:
    """Everything that is wrong with the request as a whole, and with those of its conversation's messages."""
    match request.WhichOneof("input"):
        case None:
            yield Violation("input", "is missing: set one of prompt, token_ids, conversation or batch")
        case "prompt" if not request.prompt:
            yield Violation("prompt", "must not be empty")
        case "conversation":
            for field, message in to_check:
                yield from _message_violations(field, message)
            yield from _conversation_violations(request.conversation)
            yield from media_limits.violations(request, to_check)
    yield from _stopping_violations(request, context_length)
    if request.HasField("structured_output"):
        yield from constraint_limits.violations(request.structured_output, "structured_output")
        if request.stopping.ignore_eos:
            yield Violation("stopping.ignore_eos", "must not be true with structured_output, which the end completes")
    if request.HasField("tool_choice") or request.tools:
        yield from _tool_violations(request)
    yield from name_violations(request)


def too_many_parts(conversation: pb.Conversation) -> Iterator[Violation]:
    """Whether the messages have more than may be looked at; of too many messages those that are permitted count."""
    messages = conversation.messages[:MOST_MESSAGES]
    count = sum(len(message.content) + len(message.tool_calls) for message in messages)
    if count > MOST_PARTS_IN_ALL:
        yield Violation(
            "conversation.messages", f"must have at most {MOST_PARTS_IN_ALL} parts and tool calls together, got {count}"
        )


def name_violations(request: pb.GenerateRequest) -> Iterator[Violation]:
    """What is wrong with the caller's names for the call."""
    for field, name in (("request_id", request.request_id), ("idempotency_key", request.idempotency_key)):
        if not CALLERS_NAME.fullmatch(name):
            yield Violation(field, "must have only A-Z a-z 0-9 . _ : / = + -")


def _stopping_violations(request: pb.GenerateRequest, context_length: int) -> Iterator[Violation]:
    stopping = request.stopping
    most = max(stopping.max_tokens, 1) if stopping.HasField("max_tokens") else context_length
    if stopping.min_tokens > most:
        yield Violation("stopping.min_tokens", f"must be at most max_tokens ({most}), got {stopping.min_tokens}")
    if request.response.HasField("text") and not request.response.text:
        for field, given in (("stopping.stop", stopping.stop), ("tools", request.tools)):
            if given:
                yield Violation("response.text", f"must not be false with {field}, which needs the text")


def _conversation_violations(conversation: pb.Conversation) -> Iterator[Violation]:
    messages = conversation.messages
    for name in conversation.template_arguments:
        if not ARGUMENT_NAME.fullmatch(name):
            yield Violation("conversation.template_arguments", "must have names of 1 to 64 of A-Z a-z 0-9 _")
    if conversation.continue_final_message:
        if conversation.add_generation_prompt:
            yield Violation("conversation.add_generation_prompt", "must not be true with continue_final_message")
        if messages and messages[-1].role != pb.ROLE_ASSISTANT:
            yield Violation(
                "conversation.continue_final_message", "needs a last message of ROLE_ASSISTANT, which is continued"
            )


def _message_violations(field: str, message: pb.Message) -> Iterator[Violation]:
    role = message.role
    if role == pb.ROLE_UNSPECIFIED:
        yield Violation(f"{field}.role", f"must be one of {', '.join(pb.Role.keys()[1:])}, got {role}")
    if not message.content and not message.tool_calls:
        yield Violation(f"{field}.content", "must have at least 1 entries, got 0")
    for position, part in enumerate(message.content if len(message.content) <= MOST_PARTS else ()):
        kind = part.WhichOneof("part")
        if kind is None:
            yield Violation(f"{field}.content[{position}]", "has no part: set text, image or audio")
        elif kind != "text" and getattr(part, kind).WhichOneof("source") is None:
            yield Violation(f"{field}.content[{position}].{kind}", "has no source: set data or url")
    if role != pb.ROLE_ASSISTANT:
        for name in ("tool_calls", "reasoning"):
            if getattr(message, name):
                yield Violation(f"{field}.{name}", "is for ROLE_ASSISTANT only")
    if bool(message.tool_call_id) != (role == pb.ROLE_TOOL):
        yield Violation(f"{field}.tool_call_id", "is required of ROLE_TOOL, and only there")


def _tool_violations(request: pb.GenerateRequest) -> Iterator[Violation]:
    names = [tool.name for tool in request.tools]
    for position, name in enumerate(names[:MOST_TOOLS]):
        if name and not TOOL_NAME.fullmatch(name):
            yield Violation(f"tools[{position}].name", "must be 1 to 64 of A-Z a-z 0-9 _ -")
    for position, tool in enumerate(request.tools[:MOST_TOOLS]):
        if tool.parameters:
            yield from constraint_limits.schema_violations(tool.parameters, f"tools[{position}].parameters")
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        yield Violation("tools", f"must have different names; {len(doubled)} are there more than once")
    if request.tools and request.WhichOneof("input") not in ("conversation", "batch"):
        yield Violation("tools", "need a conversation")
    yield from _choice_violations(request.tool_choice, names)
    if request.tools and request.HasField("structured_output") and request.tool_choice.mode != pb.TOOL_CHOICE_MODE_NONE:
        yield Violation("structured_output", "must not be set with tools, unless tool_choice.mode is none")


def _choice_violations(choice: pb.ToolChoice, names: list[str]) -> Iterator[Violation]:
    if choice.WhichOneof("choice") == "name" and choice.name not in names:
        yield Violation("tool_choice.name", "must be the name of one of tools")
    if choice.mode == pb.TOOL_CHOICE_MODE_REQUIRED and not names:
        yield Violation("tool_choice.mode", "cannot be required without tools")
