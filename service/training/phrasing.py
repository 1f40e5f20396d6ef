"""The many ways in which people write the same question."""

from random import Random

LEADS = (
    "Please tell me: {}",
    "Can you tell me: {}",
    "Tell me, {}",
    "Quick question: {}",
    "I would like to know: {}",
    "I have a question. {}",
    "Hey, {}",
    "Hi, {}",
    "Hello! {}",
    "So, {}",
    "Ok, {}",
    "And {}",
    "Question: {}",
)
REQUEST_LEADS = (
    "Please {}",
    "Can you {}",
    "Could you {}",
    "Could you please {}",
    "Now {}",
    "I want you to {}",
    "{}, please",
)
REQUEST_VERBS = (
    "Tell",
    "Write",
    "Count",
    "Say",
    "Name",
    "List",
    "Explain",
    "Describe",
    "Give",
    "Continue",
    "Summarise",
    "Repeat",
    "Add",
)


def vary(rng: Random, question: str, *, literal: bool = False) -> str:
    """The question as one of many people would type it; a literal one keeps the case of its words."""
    style = rng.random()
    if style < 0.4:
        return question
    if style < 0.55:
        question = lead_in(rng, question)
    if rng.random() < 0.15:
        question = question.replace("What is", rng.choice(("What's", "Whats")))
    if rng.random() < 0.04 and not literal:
        question = mistyped(rng, question)
    if rng.random() < 0.4:
        question = question[:1].lower() + question[1:] if literal else lower_words(question)
    if rng.random() < 0.45:
        question = question.rstrip("?.!")
    if rng.random() < 0.03 and not literal:
        question = question.upper()
    return question


def mistyped(rng: Random, question: str) -> str:
    """The question with one letter missing, or two letters in the wrong order."""
    at = rng.randrange(len(question))
    if rng.random() < 0.5:
        return question[:at] + question[at + 1 :]
    return question[:at] + question[at : at + 2][::-1] + question[at + 2 :]


def lead_in(rng: Random, question: str) -> str:
    inner = question[:1].lower() + question[1:] if question.split(" ")[0] != "I" else question
    if not question.startswith(REQUEST_VERBS):
        return rng.choice(LEADS).format(inner)
    lead = rng.choice(REQUEST_LEADS)
    if lead.startswith("{}"):
        return lead.format(question.rstrip("."))
    return lead.format(inner.rstrip(".") + "?" if lead.startswith("C") else inner)


def lower_words(question: str) -> str:
    """Lower case as a hurried typist leaves it: the whole question, but code-like words survive."""
    return " ".join(word if word.startswith(("gRPC", "vLLM")) else word.lower() for word in question.split(" "))
