"""Requests over all features, which get the same answer from vLLM's OpenAI server and from the service."""

import json

from tests.rpc.parity_case import (
    CITY,
    GREEDY,
    QUESTION,
    SEEDED,
    STORY,
    TAG,
    Case,
    chat,
    chat_logprobs,
    completion,
    constrained,
    logprobs,
    parts,
    prompt_logprobs,
    stopped,
    tool_result,
    tools,
    truncated,
)

CASES: dict[str, Case] = {
    # Prompts.
    "a prompt": completion(),
    "a prompt beyond ASCII": completion("Grüße aus Zürich 👋 und 東京"),
    "a prompt of blanks and line breaks": completion("  \n\n\tHello  \r\n"),
    "a long prompt": completion("The river runs to the sea. " * 60),
    "a prompt of one character": completion("x"),
    "token ids": completion([7, 100, 2047, 12]),
    "token ids with special ones": completion([0, 3, 300, 5, 4]),
    "without start token": completion(body={"add_special_tokens": False}, prompt_options={"add_special_tokens": False}),
    "special tokens read as such": completion(
        "<|user|>Hello<|end|><|assistant|>", prompt_options={"parse_special_tokens": True}
    ),
    "truncated on the left": truncated(5, "left"),
    "truncated on the right": truncated(5, "right"),
    "truncated token ids": truncated(3, "left", given=[9, 8, 7, 6, 10]),
    "truncated token ids on the right": truncated(3, "right", given=[9, 8, 7, 6, 10]),
    "a truncation that drops nothing": truncated(900, "left", given=STORY),
    # Sampling.
    "the model's own defaults with a seed": completion(sampling={"seed": 3}),
    "a seed": completion(sampling=SEEDED),
    "a negative seed": completion(sampling={**SEEDED, "seed": -5}),
    "the largest seed": completion(sampling={**SEEDED, "seed": 2**63 - 1}),
    "a high temperature": completion(sampling={**SEEDED, "temperature": 2.0}),
    "a low top_p": completion(sampling={**SEEDED, "top_p": 0.4}),
    "a small top_k": completion(sampling={**SEEDED, "top_k": 5}),
    "a min_p": completion(sampling={**SEEDED, "min_p": 0.2}),
    "top_p, top_k and min_p": completion(sampling={**SEEDED, "top_p": 0.9, "top_k": 40, "min_p": 0.01}),
    "a frequency penalty": completion(sampling={**GREEDY, "frequency_penalty": 1.5}),
    "a negative frequency penalty": completion(sampling={**GREEDY, "frequency_penalty": -1.5}),
    "a presence penalty": completion(sampling={**GREEDY, "presence_penalty": 2.0}),
    "a repetition penalty": completion(sampling={**GREEDY, "repetition_penalty": 1.7}),
    "all penalties with a seed": completion(
        sampling={**SEEDED, "frequency_penalty": 0.5, "presence_penalty": 0.5, "repetition_penalty": 1.2}
    ),
    "a biased token": completion(sampling={**GREEDY, "logit_bias": {70: 6.5, 80: -100.0, 90: 5.0}}),
    "a forced token": completion(sampling={**SEEDED, "logit_bias": {333: 100.0}}),
    "bad words": completion(sampling={**GREEDY, "bad_words": ["a", "there", "little", "was"]}),
    "bad words with a seed": completion(sampling={**SEEDED, "bad_words": ["the", ",", "."]}),
    "allowed tokens": completion(sampling={**SEEDED, "allowed_token_ids": [60, 70, 80, 90, 400]}),
    "three sequences": completion(sampling=SEEDED, body={"n": 3}, num_sequences=3),
    "eight sequences": completion(sampling=SEEDED, body={"n": 8}, num_sequences=8),
    "two chats": chat(sampling=SEEDED, body={"n": 2}, num_sequences=2),
    # Stopping.
    "a stop text": stopped(stop=[" was"]),
    "a stop text over several tokens": stopped(stop=["there was a"]),
    "a stop text that stays": stopped(stop=["e"], include_stop=True),
    "several stop texts": stopped(stop=["zzz", "ere", "a"]),
    "a stop text that never comes": stopped(stop=["never ever"]),
    "stop tokens": stopped(stop_token_ids=list(range(300, 420))),
    "stop tokens that stay": stopped(stop_token_ids=list(range(300, 420)), include_stop=True),
    "at least some tokens": stopped(min_tokens=12, stop=["e"]),
    "exactly as many tokens": stopped(min_tokens=40, stop_token_ids=list(range(300, 420))),
    "beyond the end of text": stopped(ignore_eos=True, max_tokens=60),
    "one token": completion(stopping={"max_tokens": 1}),
    "until the model ends": chat(stopping={"max_tokens": 200}),
    "special tokens in the text": completion(
        sampling={**GREEDY, "logit_bias": {5: 20.0}},
        stopping={"max_tokens": 8, "ignore_eos": True, "min_tokens": 0},
        body={"skip_special_tokens": False},
        response={"skip_special_tokens": False},
    ),
    # Logprobs.
    **{f"logprobs {count}": logprobs(count) for count in (0, 1, 2, 5)},
    "logprobs with a seed": logprobs(5, sampling=SEEDED),
    "logprobs of several sequences": completion(
        sampling=SEEDED, body={"logprobs": 2, "n": 2}, response={"logprobs": 2}, num_sequences=2
    ),
    "logprobs with a stop text": logprobs(3, stopping={"max_tokens": 40, "stop": ["there was"]}),
    **{f"logprobs {count} of a chat": chat_logprobs(count) for count in (0, 1, 4)},
    **{f"prompt_logprobs {count}": prompt_logprobs(count) for count in (0, 1, 5)},
    "prompt_logprobs of token ids": prompt_logprobs(2, prompt=[7, 100, 2047, 12]),
    "prompt_logprobs of a chat": chat(body={"prompt_logprobs": 2}, response={"prompt_logprobs": 2}),
    "prompt_logprobs and logprobs": completion(
        body={"prompt_logprobs": 1, "logprobs": 1}, response={"prompt_logprobs": 1, "logprobs": 1}
    ),
    # Forms.
    "a JSON schema": constrained(json=CITY),
    "a JSON schema in a chat": constrained(chat, json=CITY),
    "a JSON object": constrained(json_object=True),
    "a regex": constrained(regex=r"[A-Z][a-z]{2,5}-\d{3}"),
    "a choice": constrained(choice=["yes", "no", "perhaps not"]),
    "a choice in a chat": constrained(chat, choice=["Paris", "London", "I do not know."]),
    "a grammar": constrained(grammar='root ::= word (" " word)*\nword ::= "foo" | "bar" | "é"'),
    "a structural tag": constrained(structural_tag=json.dumps(TAG)),
    # Conversations.
    "a question": chat(),
    "a system's words": chat([("system", "Be brief."), *QUESTION]),
    "a developer's words": chat([("developer", "Answer in one word."), *QUESTION]),
    "several turns": chat([("user", "Hello"), ("assistant", "Hello! How are you?"), ("user", "Fine. Who are you?")]),
    "a chat with a seed": chat(sampling={"seed": 5}),
    "an assistant's turn that goes on": chat(
        [*QUESTION, ("assistant", "The capital of France")],
        body={"continue_final_message": True, "add_generation_prompt": False},
        conversation={"continue_final_message": True},
    ),
    "no start of a turn": chat(body={"add_generation_prompt": False}, conversation={"add_generation_prompt": False}),
    "a truncated chat": truncated(6, "left", chat, [("user", STORY * 3)]),
    "thinking on": chat(body={"chat_template_kwargs": {"enable_thinking": True}}, reasoning={"enabled": True}),
    "a thought and an answer": chat(
        stopping={"max_tokens": 80},
        body={"chat_template_kwargs": {"enable_thinking": True}},
        reasoning={"enabled": True},
    ),
    "thinking off": chat(body={"chat_template_kwargs": {"enable_thinking": False}}, reasoning={"enabled": False}),
    "little effort": chat(body={"reasoning_effort": "low"}, reasoning={"effort": "REASONING_EFFORT_LOW"}),
    "a chat with a stop text": chat(stopping={"max_tokens": 40, "stop": ["capital"]}),
    "a chat with special tokens in the text": chat(
        body={"skip_special_tokens": False}, response={"skip_special_tokens": False}
    ),
    "a turn of several parts": parts("What is the", "capital of", "France?"),
    "a tool's result": tool_result(),
    # Tools.
    "tools": tools(None),
    "tools if it likes": tools("auto", [("user", "What is the weather in Paris for the next 3 days?")]),
    "a thought and a tool": tools(
        "auto",
        [("user", "What is the weather in Paris for the next 3 days?")],
        body={"chat_template_kwargs": {"enable_thinking": True}},
        reasoning={"enabled": True},
    ),
    "no tools": tools("none"),
    "a tool in any case": tools("required"),
    "a tool in any case, with a seed": tools("required", sampling=SEEDED),
    "a tool by name": tools("get_weather"),
    "a tool without arguments by name": tools("get_time"),
    "a tool with logprobs": tools("required", body={"logprobs": True, "top_logprobs": 2}, response={"logprobs": 2}),
    "one tool at most": tools("required", body={"parallel_tool_calls": False}, tool_choice={"parallel": False}),
    **{
        f"one tool at most, with seed {seed}": tools(
            "required",
            sampling={**SEEDED, "seed": seed},
            body={"parallel_tool_calls": False},
            tool_choice={"parallel": False},
        )
        for seed in (1, 2, 3, 4)
    },
    "one tool at most if it likes": tools("auto", body={"parallel_tool_calls": False}, tool_choice={"parallel": False}),
    "two answers with a tool each": tools("required", sampling=SEEDED, body={"n": 2}, num_sequences=2),
}
