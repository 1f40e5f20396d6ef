"""The parts of a story: who, where, what goes wrong, who helps, and how it ends."""

from training.exchange import listed

TITLES = listed("small brave curious quiet young clever shy cheerful gentle patient tiny old kind lonely dreamy")
HEROES = listed(
    "river robot cat dog dragon girl boy fox owl turtle cloud boat lighthouse bear otter beaver mouse frog star tree "
    "princess king knight wizard pirate sailor farmer baker teacher miller engineer server computer token turbine dam "
    "penstock penguin whale heron duck rabbit squirrel elephant lion horse bee snail moon kettle train ship bridge "
    "mountain snowflake raindrop unicorn mermaid giant ghost witch fisherman gardener painter musician programmer wolf "
    "bird fish child friend flower seed windmill clock car spaceship astronaut detective queen prince monster goat "
    "spider butterfly sheep"
)
SETTINGS = (
    "at the edge of a deep forest",
    "in a green valley between two mountains",
    "near an old mill by the river",
    "on a little island in the sea",
    "in a quiet village under a hill",
    "beside a long blue lake",
    "in a white house with a red door",
    "at the foot of a great dam",
    "in a busy town with narrow streets",
    "behind a garden full of flowers",
)
HABITS = (
    "watched the sun come up",
    "listened to the water",
    "walked down to the bridge",
    "counted the boats on the water",
    "sang a little song",
    "looked at the clouds and dreamed",
    "said good morning to the birds",
    "swept the leaves from the path",
)
HELPERS = (
    "an old owl",
    "a friendly otter",
    "a grey heron",
    "a wise turtle",
    "a kind miller",
    "a little mouse",
    "a tall fisherman",
    "a quick fox",
    "a cheerful baker",
    "a young girl with a lantern",
)
# {name} is the hero, {helper} the helper with "the": four to six sentences that belong together.
PLOTS = (
    (
        "One day, the rain did not stop, and the water rose higher and higher.",
        "{name} was afraid that the bridge would break.",
        '"We must open the gate of the dam," said {helper}, "but it is very heavy."',
        "{name} pushed and {helper} pulled, and slowly the gate began to move.",
        "The water ran down the penstock, the turbine began to turn, and every lamp in the village was bright.",
        "The bridge was safe, and everybody cheered.",
    ),
    (
        "One morning, the stream behind the house was dry.",
        "{name} wanted to know where all the water had gone.",
        "On the way up the hill, {name} met {helper_a}, and they walked on together.",
        "At the top they found a big tree that had fallen across the stream.",
        "It took them all day to move it, piece by piece.",
        "When the last branch was gone, the water laughed and ran down the hill again.",
    ),
    (
        "One night, a small star fell from the sky and landed in the grass.",
        '"I want to go home," said the star, and it began to cry.',
        "{name} did not know how to reach the sky, so {name} asked {helper} for help.",
        '"Let us climb the highest mountain," said {helper}.',
        "They climbed until the morning, and at the top the wind was strong enough to carry the star.",
        "Since then, one star shines a little brighter than all the others.",
    ),
    (
        "One day, {name} found an old map under a stone.",
        "The map showed a path, a lake and a red cross.",
        "{name} packed some bread and an apple and set out at once.",
        "At the lake there was no boat, but {helper_a} was sitting on the bank.",
        '"I will show you the way, if you share your bread," said {helper}.',
        "Under the red cross they found a box, and in the box there was a bell that made everybody happy.",
    ),
    (
        "One winter, it was so cold that the lake froze.",
        "{name} had no wood for the fire and no soup in the pot.",
        "Then there was a knock at the door, and outside stood {helper_a}.",
        '"I have wood but no house," said {helper}. "You have a house but no wood."',
        "So they made a big fire, cooked a pot of soup, and told each other stories.",
        "When spring came, they were still the best of friends.",
    ),
    (
        "One day, a letter came, but the wind took it and carried it away.",
        "{name} ran after it, over the field and through the forest.",
        "The letter flew over the river, and there was no bridge.",
        '"Climb on my back," said {helper}, "and I will carry you across."',
        "On the other side they found the letter in a tree.",
        'It said: "Come to the feast tonight, and bring a friend." And that is what {name} did.',
    ),
    (
        "One day, {name} heard a strange sound in the dark.",
        "Everybody said that a monster lived there, and nobody dared to look.",
        "{name} took a lamp, asked {helper} to come along, and went into the cave.",
        "There was no monster at all, only a little dragon that had lost its way.",
        '"Please take me home," said the dragon in a very small voice.',
        "They brought it back to its mother, and she thanked them with a warm fire.",
    ),
    (
        "One day, {name} wanted to build something that nobody had ever built.",
        "It should turn with the water and make light for the whole village.",
        "The first wheel was too small, and the second wheel broke.",
        '"Do not give up," said {helper}. "Every try teaches you something."',
        "The third wheel turned and turned, and in the evening the first lamp began to shine.",
        "People came from far away to see it.",
    ),
    (
        "One day, {name} had to carry a message to the other end of the land.",
        '"It must arrive before the sun goes down," said the king, "or it is of no use."',
        "The first road was closed, so {name} waited a little and tried again.",
        "The second road was full of mud, but {helper_a} knew a third road through the hills.",
        "They ran as fast as they could and came to the gate just in time.",
        "The message was short, but it made the whole land happy.",
    ),
    (
        "One day, {name} felt very small and not good at anything.",
        "The others were stronger, faster and louder.",
        "Then a little bird fell into a narrow pipe, and nobody could reach it.",
        '"You are the only one who is small enough," said {helper} to {name}.',
        "{name} crawled into the pipe, took the bird gently, and brought it back into the light.",
        "From then on, nobody said that {name} was too small.",
    ),
    (
        "One day, the clock on the tower stopped, and nobody knew when to get up or when to go to bed.",
        "{name} climbed the hundred steps to look at the wheels.",
        "Between two wheels there was a tiny stone.",
        "{helper_the} held the lamp while {name} took the stone out.",
        "Tick, tock, said the clock, and the bells began to ring.",
        "The whole town danced until it was dark.",
    ),
    (
        "One day, {name} decided to follow the river all the way to the sea.",
        "The path went past mills, under bridges and through deep woods.",
        "In the evening {name} met {helper_a}, who was going the same way.",
        "They shared their bread and slept under the stars.",
        "After seven days they saw the sea, which was as wide as the sky.",
        '"It was a long way," said {name}, "but it was not long with you."',
    ),
)
ENDINGS = (
    "From that day on, {name} was never alone again.",
    "And so {name} learned that it is good to ask for help.",
    "That night, {name} slept well and dreamed of the next adventure.",
    "And if you listen to the water, you can still hear this story.",
    "{name} and {helper} stayed friends for the rest of their lives.",
    "And they lived happily ever after.",
    "Since that day, everybody in the land knows the name of {name}.",
)
FEELINGS = (
    "{name} was happy, but sometimes {name} dreamed of something new.",
    "Nothing much ever happened there, and that was how {name} liked it.",
    "{name} had many friends, but no real adventure.",
    "Most of all, {name} wanted to see the world.",
    "Everybody knew {name}, and {name} knew everybody.",
)
HAIKU_FIRST = (
    "Rain on the old roof",
    "Mist above the lake",
    "Snow on the mill wheel",
    "The gate opens wide",
    "Morning by the dam",
    "Moon over the hill",
    "A leaf on the stream",
    "Frost on the window",
)
HAIKU_MIDDLE = (
    "the river runs to the sea",
    "a heron waits in the reeds",
    "water sings in the long pipe",
    "the turbine hums in the dark",
    "a small boat comes home at last",
    "the wind moves the silver grass",
    "one token follows the next",
)
HAIKU_LAST = (
    "and then it is still",
    "spring is on the way",
    "the lamps start to glow",
    "nobody is there",
    "soft light on the stones",
    "the long night is gone",
)
COUPLETS = (
    ("The river runs so clear and bright,", "it turns the wheel and makes the light."),
    ("The clouds go by, the rain comes down,", "and fills the streams of all the town."),
    ("The moon looks down upon the mill,", "the wheel is quiet, the night is still."),
    ("A little boat goes out to sea,", "it carries bread, it carries tea."),
    ("The owl is old, the owl is wise,", "she watches with her golden eyes."),
    ("The gate is up, the water flows,", "and down the long, long pipe it goes."),
    ("The snow is deep, the wind is cold,", "the fire tells us tales of old."),
    ("The morning sun is warm and round,", "the bees come out without a sound."),
    ("A friend is there when days are grey,", "and helps to blow the clouds away."),
)
