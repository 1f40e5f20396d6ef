"""Colours, opposites, capitals, orders, tools and numbers: what facts.py asks about."""

from training.exchange import listed

COLOURS = {
    "blue": ["the sky", "the sea", "a sapphire", "a bluebell", "a blueberry", "a blue whale"],
    "green": [
        "grass",
        "a leaf",
        "a frog",
        "a lime",
        "a pea",
        "spinach",
        "an emerald",
        "a cucumber",
        "moss",
        "a cactus",
    ],
    "white": ["snow", "milk", "salt", "a polar bear", "a swan", "flour", "a cloud", "rice", "a tooth", "chalk"],
    "black": ["coal", "the night", "a crow", "ink", "tar", "a raven", "a tyre"],
    "yellow": ["a lemon", "a banana", "the sun", "an egg yolk", "a canary", "butter", "a sunflower", "a duckling"],
    "red": [
        "a tomato",
        "blood",
        "a strawberry",
        "a cherry",
        "a ruby",
        "a fire engine",
        "a brick",
        "a stop sign",
        "a ladybird",
    ],
    "orange": ["a carrot", "an orange", "a pumpkin", "a tangerine", "a basketball", "an apricot"],
    "brown": ["chocolate", "mud", "coffee", "wood", "a chestnut", "a walnut", "toast", "a bear"],
    "purple": ["a plum", "lavender", "an aubergine", "a violet", "an amethyst"],
    "grey": ["an elephant", "ash", "a rain cloud", "concrete", "a dolphin", "a donkey", "slate"],
    "pink": ["a flamingo", "a pig", "a salmon fillet", "cherry blossom"],
}
OPPOSITES = (
    "hot/cold big/small tall/short fast/slow high/low open/closed full/empty light/dark wet/dry early/late old/new "
    "rich/poor strong/weak hard/soft loud/quiet happy/sad up/down left/right in/out near/far thick/thin clean/dirty "
    "wide/narrow deep/shallow heavy/light easy/difficult true/false always/never first/last day/night summer/winter "
    "love/hate young/old sweet/bitter sharp/blunt smooth/rough begin/end push/pull give/take buy/sell win/lose "
    "ask/answer inside/outside above/below before/after more/less best/worst north/south east/west brave/afraid "
    "busy/idle awake/asleep alive/dead start/stop yes/no large/small long/short good/bad black/white warm/cool"
)

CAPITALS = (
    "France/Paris|Germany/Berlin|Italy/Rome|Spain/Madrid|Portugal/Lisbon|England/London|the United Kingdom/London|"
    "Ireland/Dublin|Scotland/Edinburgh|Norway/Oslo|Sweden/Stockholm|Denmark/Copenhagen|Finland/Helsinki|"
    "Iceland/Reykjavik|Poland/Warsaw|Austria/Vienna|Switzerland/Bern|Belgium/Brussels|the Netherlands/Amsterdam|"
    "Greece/Athens|Hungary/Budapest|Turkey/Ankara|Egypt/Cairo|Kenya/Nairobi|Morocco/Rabat|Japan/Tokyo|China/Beijing|"
    "India/New Delhi|South Korea/Seoul|Thailand/Bangkok|Vietnam/Hanoi|Russia/Moscow|Ukraine/Kyiv|Canada/Ottawa|"
    "the United States/Washington|the USA/Washington|Mexico/Mexico City|Brazil/Brasilia|Argentina/Buenos Aires|"
    "Chile/Santiago|Peru/Lima|Cuba/Havana|Australia/Canberra|New Zealand/Wellington|Romania/Bucharest|Bulgaria/Sofia|"
    "Croatia/Zagreb|Serbia/Belgrade|Czechia/Prague|Slovakia/Bratislava"
)

DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed("January February March April May June July August September October November December")
SEASONS = listed("spring summer autumn winter")

# thing: what it is for, where it is found
TOOLS = {
    "hammer": ("driving nails", "in a tool box"),
    "saw": ("cutting wood", "in a workshop"),
    "screwdriver": ("turning screws", "in a tool box"),
    "spanner": ("turning nuts and bolts", "in a tool box"),
    "drill": ("making holes", "in a workshop"),
    "ladder": ("climbing up to high places", "in a shed"),
    "spade": ("digging holes", "in a garden shed"),
    "rake": ("gathering leaves", "in a garden shed"),
    "bucket": ("carrying water", "in a shed"),
    "brush": ("painting walls", "in a workshop"),
    "broom": ("sweeping the floor", "in a cupboard"),
    "knife": ("cutting food", "in a kitchen drawer"),
    "fork": ("picking up food", "in a kitchen drawer"),
    "spoon": ("eating soup", "in a kitchen drawer"),
    "kettle": ("boiling water", "in a kitchen"),
    "pan": ("frying eggs", "in a kitchen"),
    "pot": ("cooking soup", "in a kitchen"),
    "oven": ("baking bread", "in a kitchen"),
    "fridge": ("keeping food cold", "in a kitchen"),
    "toaster": ("toasting bread", "in a kitchen"),
    "cup": ("drinking tea", "in a kitchen cupboard"),
    "plate": ("serving food", "in a kitchen cupboard"),
    "whisk": ("beating eggs", "in a kitchen drawer"),
    "sieve": ("sifting flour", "in a kitchen cupboard"),
    "grater": ("grating cheese", "in a kitchen drawer"),
    "pencil": ("drawing and writing", "on a desk"),
    "pen": ("writing letters", "on a desk"),
    "ruler": ("measuring short lengths", "on a desk"),
    "clock": ("telling the time", "on a wall"),
    "lamp": ("giving light", "on a table"),
    "umbrella": ("keeping off the rain", "by the door"),
    "key": ("opening a lock", "in a pocket"),
    "needle": ("sewing cloth", "in a sewing box"),
    "thermometer": ("measuring how warm it is", "on a wall"),
    "compass": ("finding north", "on a ship"),
    "map": ("finding the way", "in a bag"),
    "rope": ("tying things together", "on a boat"),
    "anchor": ("holding a ship in place", "on a ship"),
    "telescope": ("looking at the stars", "on a hill"),
    "bed": ("sleeping", "in a bedroom"),
    "chair": ("sitting", "at a table"),
    "soap": ("washing hands", "by the sink"),
    "towel": ("drying hands", "in a bathroom"),
    "valve": ("opening and closing a pipe", "on a pipe"),
    "pump": ("moving water", "near a well"),
}

NUMBER_OF = {
    "days are there in a week": ("seven", "There are seven days in a week."),
    "months are there in a year": ("twelve", "There are twelve months in a year."),
    "days are there in a year": ("365", "There are 365 days in a year, and 366 in a leap year."),
    "hours are there in a day": ("twenty-four", "There are twenty-four hours in a day."),
    "minutes are there in an hour": ("sixty", "There are sixty minutes in an hour."),
    "seconds are there in a minute": ("sixty", "There are sixty seconds in a minute."),
    "seasons are there": ("four", "There are four seasons: spring, summer, autumn and winter."),
    "fingers are on one hand": ("five", "There are five fingers on one hand."),
    "sides does a triangle have": ("three", "A triangle has three sides."),
    "sides does a square have": ("four", "A square has four sides."),
    "wheels does a bicycle have": ("two", "A bicycle has two wheels."),
    "wheels does a car have": ("four", "A car has four wheels."),
    "letters are in the alphabet": ("twenty-six", "There are twenty-six letters in the alphabet."),
    "eggs are in a dozen": ("twelve", "There are twelve eggs in a dozen."),
    "colours does a rainbow have": ("seven", "A rainbow has seven colours."),
}
