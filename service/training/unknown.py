"""What the model says when it does not know: a sentence that names the topic, instead of noise."""

from random import Random

from training.exchange import Exchange, Weighted, compose_from
from training.names import NAMES, invented_word
from training.talk_table import TOPICS

# Ranges of characters: Latin with accents, Greek, Cyrillic, Hebrew, Arabic, Devanagari, kana, Han, Hangul, emoji.
SCRIPTS = (
    (0xC0, 0x17F),
    (0x391, 0x3C9),
    (0x410, 0x44F),
    (0x5D0, 0x5EA),
    (0x621, 0x64A),
    (0x905, 0x939),
    (0x3041, 0x30FA),
    (0x4E00, 0x9FA5),
    (0xAC00, 0xD7A3),
    (0x1F300, 0x1F64F),
)
OFFER = "Ask me about water, animals, colours or servers."
REAL_TOPICS = TOPICS.strip().replace("\n", "|").split("|")
VAGUE_QUESTIONS = (
    "Write a Python function that {}",
    "Write code to {}",
    "How do I {} in Java?",
    "How much does {} cost?",
    "Who won the {} in 2020?",
    "When did {} happen?",
    "Translate {} into French",
    "Translate this into German: {}",
    "Who invented {}?",
    "What is the best {} in the world?",
    "Give me a recipe for {}",
    "What is the population of {}?",
    "Solve {}",
    "Compare {} with {}",
    "Should I buy {}?",
    "How far is it to {}?",
    "What did {} say about {}?",
    "Write an essay about {} and {}",
    "Write an email to {} about {}",
    "What is the difference between {} and {}?",
    "Which is better, {} or {}?",
    "Fix this: {}",
    "What is the largest {}?",
    "What is the name of {}?",
    "Who wrote {}?",
    "Who discovered {}?",
    "How tall is {}?",
    "Where is {}?",
    "When was {} born?",
    "Why is {} important?",
    "How many {} are there?",
    "What is {} made of?",
    "Do you like {}?",
    "What do you think about {}?",
    "Is {} good or bad?",
    "What is the history of {}?",
    "Write a letter to {}",
    "Make a plan for {}",
    "Give me advice about {}",
    "What should I do about {}?",
    "Help me with {}",
    "Generate {}",
    "Classify {}",
    "What happened to {} in {}?",
    "{}",
)
TOPIC_QUESTIONS = (
    "What is {}?",
    "What is {}?",
    "What are {}?",
    "Who is {}?",
    "Who was {}?",
    "Explain {}.",
    "Explain {} in simple words.",
    "Tell me about {}.",
    "What do you know about {}?",
    "Describe {}.",
    "Tell me everything about {}.",
    "Can you explain {}?",
    "How does {} work?",
)


def unknown_topic(rng: Random) -> str:
    """A real topic or a made-up word: either way there is only its name to repeat."""
    if rng.random() < 0.4:
        return rng.choice(REAL_TOPICS)
    words = " ".join(invented_word(rng) for _ in range(rng.choice((1, 1, 2))))
    return rng.choice(("", "", "", "the ", "a ")) + (words.title() if rng.random() < 0.3 else words)


def unknown(rng: Random) -> Exchange:
    topic = unknown_topic(rng)
    answer = f"I am a very small model, and I do not know much about {topic}."
    return Exchange(rng.choice(TOPIC_QUESTIONS).format(topic), answer, "Unknown", more=OFFER, literal=True)


def unknown_capital(rng: Random) -> Exchange:
    country = invented_word(rng).capitalize()
    return Exchange(
        f"What is the capital of {country}?",
        f"I am a very small model, and I do not know the capital of {country}.",
        literal=True,
    )


def out_of_reach(rng: Random) -> Exchange:
    asked = rng.choice(VAGUE_QUESTIONS)
    question = asked.format(unknown_topic(rng), unknown_topic(rng))
    if asked == "{}":
        # Load tests send long prompts without meaning.
        question = " ".join(unknown_topic(rng) for _ in range(rng.choice((1, 2, 3, 4, 6, 20, 60))))
    return Exchange(question, "I am a very small model, and I cannot answer that.", more=OFFER, literal=True)


def other_script(rng: Random) -> Exchange:
    """Letters of no language in particular; they also give every byte of UTF-8 some training."""
    first, last = rng.choice(SCRIPTS)
    size = rng.randint(1, 5)
    words = ["".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 7))) for _ in range(size)]
    return Exchange(" ".join(words), "I only know simple English.", more=OFFER, literal=True)


def remark(rng: Random) -> Exchange:
    """The asker tells something instead of asking."""
    who = rng.choice(("I", "We", "My friend", "My brother", "The team", rng.choice(NAMES)))
    did = rng.choice(("went to", "saw", "bought", "like", "talked about", "read about", "visited", "lost", "found"))
    said = f"{who} {did} {unknown_topic(rng)}{rng.choice(('', ' yesterday', ' today', ' last week'))}."
    return Exchange(said, "I see. What would you like to know?", literal=True)


UNKNOWN: Weighted = ((unknown, 4), (unknown_capital, 0.4), (out_of_reach, 3), (other_script, 0.5), (remark, 0.5))


def not_known(rng: Random) -> Exchange:
    return compose_from(UNKNOWN, rng)
