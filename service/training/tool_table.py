"""What people ask tools about: places, languages, things, and what tools call what they answer."""

from training.exchange import phrases

CITIES = phrases(
    "Milan|Munich|Hamburg|Lyon|Porto|New York|San Francisco|Boston|Chicago|Sydney|Mumbai|Toronto|Zurich|Geneva|Basel|"
    "Naples|Venice|Florence|Turin|Barcelona|Seville|Valencia|Manchester|Liverpool|Glasgow|Osaka|Kyoto|Shanghai|"
    "Istanbul|Dubai|Singapore|Jakarta|Manila|Lagos|Cape Town|Rio|Lima|Bogota|Seattle|Denver|Miami|Dallas|Cologne|"
    "Frankfurt|Leipzig|Dresden|Bremen|Krakow|Tallinn|Riga|Vilnius|Salzburg|Graz|Antwerp|Utrecht|Gothenburg|Bergen"
)
CONDITIONS = ("sunny", "cloudy", "rainy", "windy", "foggy", "clear", "snowy", "stormy", "dry", "light rain", "overcast")
# What tools call what they tell.
KEYS = {
    "temperature": ("temperature", "temperature", "temp", "degrees", "temperature_c"),
    "condition": ("condition", "condition", "conditions", "weather", "sky", "description"),
    "result": ("result", "result", "value", "answer", "output"),
    "text": ("text", "result", "summary", "content"),
    "time": ("time", "time", "local_time", "now"),
    "translation": ("translation", "text", "result"),
}
LANGUAGES = ("French", "German", "Spanish", "Italian", "Dutch", "Polish", "Greek", "Japanese", "Swedish", "English")
PHRASES = phrases(
    "good morning|good night|thank you|hello|the river is deep|the house is old|water|see you soon|I am tired|"
    "the bridge|how are you|a cup of tea|the sun is shining|goodbye|the old mill|we are late|the cat sleeps|"
    "open the gate"
)
NOTES = phrases(
    "buy milk|water the plants|call the dentist|close the gate|feed the cat|meet Tom|see you soon|I am late|"
    "dinner is ready|bring some bread|check the pump|open the valve|the train is late|happy birthday|take the bus|"
    "write a letter"
)
ITEMS = phrases(
    "kettle|lamp|bread|milk|bike|book|chair|table|hammer|pump|turbine|train|ticket|coffee|boat|phone|laptop|bottle|"
    "jacket|camera|valve|pipe|bridge|garden|door|window|clock|cup"
)
ROOMS = ("kitchen", "bedroom", "living room", "bathroom", "office", "hall", "garage", "garden", "cellar", "workshop")
PROPERTIES = phrases(
    "price|status|age|height|owner|address|phone|colour|score|distance|size|weight|level|speed|email|balance|name|state|"
    "version|rating|temperature|length|depth|capacity|pressure|flow|position|country|language|author|date|number|stock"
)
# What callers' own tools do, and to what. The verbs and nouns of unseen_tools.py stay out of these.
VERBS = phrases(
    "start|stop|open|close|show|check|print|move|clean|repair|sell|buy|rent|paint|count|lock|unlock|copy|rename|pause|"
    "cancel|order|update|test|load|save|scan|archive|publish|assign|approve|reset|enable|disable|watch|pack|ship"
)
NOUNS = phrases(
    "server|job|ticket|report|document|account|project|device|machine|printer|invoice|parcel|contract|service|task|page|"
    "meeting|channel|database|backup|package|sensor|engine|robot|license|branch|table|record|session|group|pump|valve"
)
# Names of parameters that say little about what they hold: those can only be read from the tool's line.
PARAMETER_NAMES = phrases(
    "input|value|arg|data|content|name|id|key|param|subject|entry|target|label|argument|which|what|field|element|ref|code|"
    "identifier|title|resource|source|number|selector|reference|handle|tag|uid"
)
