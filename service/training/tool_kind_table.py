"""The kinds of tools that come up most: their names, what people ask of them, and how answers repeat their results."""

from collections.abc import Callable

from training.exchange import sentence
from training.names import any_name, invented_word
from training.tool_table import LANGUAGES, NOTES, PHRASES, ROOMS
from training.tool_values import calculated, city, clock, done, found, number, subject, weather
from training.toolbox import Kind, Parameter

CITY = Parameter(("city", "city", "location", "place", "town", "city_name"), city)
OPERANDS = (("a", "x", "first", "left", "n1"), ("b", "y", "second", "right", "n2"))
PAIR = tuple(Parameter(names, number, "number") for names in OPERANDS)


def arithmetic(
    names: tuple[str, ...], sign: str, asked: tuple[str, ...], work: Callable[[float, float], float]
) -> Kind:
    return Kind(
        names=names,
        descriptions=(f"{sentence(names[0])} two numbers", f"{names[0]} two numbers", "Calculate", ""),
        parameters=PAIR,
        questions=(f"What is {{0}} {sign} {{1}}?", f"{{0}} {sign} {{1}}", f"{{0}}{sign}{{1}}", *asked),
        outcome=calculated(work),
        answer=f"{{0}} {sign} {{1}} = {{result}}.",
        without="",
    )


WEATHER = Kind(
    names=(
        "get_weather",
        "get_weather",
        "weather",
        "current_weather",
        "get_current_weather",
        "check_weather",
        "forecast",
    ),
    descriptions=(
        "Get the weather for a city",
        "Get the current weather in a given city",
        "The weather in a city",
        "Returns the current weather at a location",
        "",
    ),
    parameters=(
        CITY,
        Parameter(
            ("unit", "units", "scale"),
            lambda rng: rng.choice(("celsius", "fahrenheit")),
            choices=("celsius", "fahrenheit"),
            phrase=" in {}",
        ),
    ),
    questions=(
        "What is the weather in {0}?",
        "What is the weather in {0}?",
        "What is the weather like in {0}?",
        "What's the weather like in {0} today?",
        "How is the weather in {0}?",
        "How is the weather in {0} today?",
        "How warm is it in {0}?",
        "Tell me the weather in {0}.",
        "Get the weather for {0}.",
        "Weather in {0}?",
    ),
    outcome=weather,
    answer="It is {condition} in {0}, with {temperature} degrees.",
    listable=True,
    without="I cannot see the weather from here. Look out of the window.",
)
RAIN = Kind(
    names=("will_it_rain", "rain_forecast", "get_rain", "check_rain"),
    descriptions=("Whether it rains in a city", "The chance of rain in a place", ""),
    parameters=(CITY,),
    questions=("Is it raining in {0}?", "Will it rain in {0}?", "Do I need an umbrella in {0}?"),
    outcome=lambda rng, asked: {"rain": rng.choice(("yes", "no", f"{rng.randint(1, 99)} percent"))},
    answer="Rain in {0}: {rain}.",
    listable=True,
    without="I cannot see the weather from here. Look out of the window.",
)
TIME = Kind(
    names=("get_time", "get_time", "current_time", "get_current_time", "time_in", "clock", "local_time"),
    descriptions=("Get the current time in a city", "Get the time", "The local time in a place", "Current time", ""),
    parameters=(CITY,),
    questions=(
        "What time is it in {0}?",
        "What time is it in {0}?",
        "What is the time in {0}?",
        "How late is it in {0}?",
        "Tell me the time in {0}.",
        "What's the time in {0} now?",
    ),
    outcome=clock,
    answer="It is {time} in {0}.",
    listable=True,
    without="I cannot see a clock from here.",
)
DATE = Kind(
    names=("get_date", "today", "current_date", "get_today", "get_day"),
    descriptions=("Get the date of today", "The current date", "Today's date", ""),
    parameters=(),
    questions=("What day is it today?", "What is the date?", "What is the date today?", "Which day is today?"),
    outcome=lambda rng, asked: {"date": f"{rng.randint(2020, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"},
    answer="Today is {date}.",
    without="I cannot see a clock from here.",
)
SEARCH = Kind(
    names=("search", "search", "web_search", "search_web", "find", "lookup", "google"),
    descriptions=("Search the web", "Search for a topic", "Find information about something", "Look something up", ""),
    parameters=(Parameter(("query", "query", "q", "topic", "term", "text"), subject),),
    questions=(
        "Search for {0}.",
        "Search the web for {0}.",
        "Look up {0}.",
        "Find something about {0}.",
        "Find information about {0}.",
        "Search {0}.",
    ),
    outcome=found,
    answer="{text}",
)
TIMER = Kind(
    names=("set_timer", "set_timer", "start_timer", "timer", "create_timer"),
    descriptions=("Set a timer", "Start a timer for some minutes", "Set a timer in minutes", ""),
    parameters=(Parameter(("minutes", "minutes", "duration", "mins"), lambda rng: rng.randint(1, 90), "integer"),),
    questions=(
        "Set a timer for {0} minutes.",
        "Set a timer for {0} minutes.",
        "Start a timer for {0} minutes.",
        "Set a {0} minute timer.",
        "Wake me in {0} minutes.",
        "Timer for {0} minutes.",
    ),
    outcome=done,
    answer="The timer is set for {0} minutes.",
)
TRANSLATE = Kind(
    names=("translate", "translate", "translate_text", "translation"),
    descriptions=("Translate a text", "Translate text into another language", "Translates", ""),
    parameters=(
        Parameter(("text", "text", "phrase", "sentence", "words"), lambda rng: rng.choice(PHRASES)),
        Parameter(("language", "target", "to", "target_language", "lang"), lambda rng: rng.choice(LANGUAGES)),
    ),
    questions=(
        "Translate '{0}' into {1}.",
        "Translate {0} into {1}.",
        "Translate {0} to {1}.",
        "How do you say {0} in {1}?",
        "What is {0} in {1}?",
    ),
    outcome=lambda rng, asked: {"translation": " ".join(invented_word(rng) for _ in range(rng.randint(1, 3)))},
    answer="In {1} it is: {translation}.",
)
MESSAGE = Kind(
    names=("send_message", "send_message", "send_email", "send_text", "notify", "send"),
    descriptions=("Send a message to a person", "Send a message", "Send a text to somebody", ""),
    parameters=(
        Parameter(("to", "recipient", "person", "name"), any_name),
        Parameter(("text", "message", "body", "content"), lambda rng: rng.choice((*NOTES, *PHRASES))),
    ),
    questions=(
        "Send {0} the message: {1}.",
        "Send a message to {0}: {1}.",
        "Tell {0}: {1}.",
        "Write to {0}: {1}.",
        "Send {1} to {0}.",
    ),
    outcome=done,
    answer="The message to {0} is sent.",
)
REMINDER = Kind(
    names=("create_reminder", "add_reminder", "set_reminder", "remind", "add_task", "add_todo"),
    descriptions=("Create a reminder", "Remind the user of something", "Add a note to the list", ""),
    parameters=(Parameter(("text", "task", "note", "title", "what"), lambda rng: rng.choice(NOTES)),),
    questions=("Remind me to {0}.", "Remind me to {0}.", "Add a reminder to {0}.", "I must not forget to {0}."),
    outcome=done,
    answer="I will remind you to {0}.",
)
LIGHT = Kind(
    names=("set_light", "switch_light", "light", "control_light", "turn_light"),
    descriptions=("Switch a light on or off", "Turn the light in a room on or off", ""),
    parameters=(
        Parameter(("room", "room", "place", "where"), lambda rng: rng.choice(ROOMS)),
        Parameter(("state", "action", "switch"), lambda rng: rng.choice(("on", "off")), choices=("on", "off")),
    ),
    questions=(
        "Turn {1} the light in the {0}.",
        "Switch {1} the light in the {0}.",
        "Turn the light in the {0} {1}.",
        "Turn the {0} light {1}.",
    ),
    outcome=done,
    answer="The light in the {0} is {1}.",
)
GATE = Kind(
    names=("set_gate", "open_gate", "move_gate", "set_valve"),
    descriptions=("Open the gate of the penstock", "Set the gate to a percentage", "How far the gate is open", ""),
    parameters=(Parameter(("percent", "opening", "position", "value"), lambda rng: rng.randint(0, 100), "integer"),),
    questions=("Open the gate to {0} percent.", "Set the gate to {0} percent.", "Move the gate to {0} percent."),
    outcome=done,
    answer="The gate is open to {0} percent.",
)
DICE = Kind(
    names=("roll_dice", "roll_die", "random_number", "roll"),
    descriptions=("Roll a die", "A random number up to a limit", ""),
    parameters=(
        Parameter(("sides", "max", "limit"), lambda rng: rng.choice((4, 6, 6, 8, 10, 12, 20, 100)), "integer"),
    ),
    questions=("Roll a die with {0} sides.", "Throw a die with {0} sides.", "Give me a random number up to {0}."),
    outcome=lambda rng, asked: {"result": rng.randint(1, int(asked[0]))},
    answer="It is {result}.",
)
ADD = arithmetic(
    ("add", "add", "add_numbers", "sum", "plus", "addition"),
    "+",
    ("What is {0} plus {1}?", "Add {0} and {1}.", "How much is {0} + {1}?", "Add {0} to {1}."),
    lambda x, y: x + y,
)
MULTIPLY = arithmetic(
    ("multiply", "multiply", "multiply_numbers", "times", "product", "mul"),
    "*",
    ("What is {0} times {1}?", "Multiply {0} by {1}.", "Multiply {0} and {1}.", "How much is {0} times {1}?"),
    lambda x, y: x * y,
)
SUBTRACT = arithmetic(
    ("subtract", "subtract", "minus", "difference", "sub"),
    "-",
    ("What is {0} minus {1}?", "Subtract {1} from {0}.", "How much is {0} minus {1}?"),
    lambda x, y: x - y,
)
KINDS: tuple[tuple[Kind, float], ...] = (
    (WEATHER, 4),
    (RAIN, 0.7),
    (TIME, 2.5),
    (DATE, 0.6),
    (SEARCH, 1.5),
    (TIMER, 1.2),
    (TRANSLATE, 1.3),
    (MESSAGE, 1),
    (REMINDER, 0.8),
    (LIGHT, 0.7),
    (GATE, 0.6),
    (DICE, 0.5),
    (ADD, 2.5),
    (MULTIPLY, 2.5),
    (SUBTRACT, 1),
)
