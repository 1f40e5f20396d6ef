"""What concepts.py explains: water and machines, the network, language models, and the everyday world."""

# ruff: noqa: E501 (a row is one thing with all that is said about it)

# name as it is asked for | one sentence that follows "X is" or "X are" | one or two sentences more
WATER = """
a penstock|the gated pipe that feeds a turbine|Water runs down the penstock, and its gate decides how much reaches the turbine.
a turbine|a wheel that turns when water, steam or wind pushes its blades|It drives a generator, and the generator makes electricity.
a dam|a strong wall that holds back a river|Behind the dam the water rises and forms a lake.
a reservoir|a lake that stores water behind a dam|It fills when it rains and gives water when it is dry.
a generator|a machine that turns movement into electricity|A turbine keeps it spinning.
a river|a long stream of water that flows to the sea|It starts at a spring, grows with the rain, and carries boats, fish and sand.
a lake|a large body of still water with land around it|Rivers fill it, and often a river leaves it.
a canal|a waterway that people have dug|Boats use it to carry goods from town to town.
a waterfall|a place where a river drops over a cliff|The falling water is loud and full of foam.
a spring|a place where water comes out of the ground|Many rivers begin at a small spring.
a valve|a part that opens and closes a pipe|A little turn of the valve lets a little water through.
a pump|a machine that moves water through a pipe|It can lift water from a deep well.
a pipe|a long tube that carries water or gas|Pipes bring water from the lake to the houses.
a gate|a door that can hold back water or people|When the gate opens, the water flows.
a power station|a place where electricity is made|Its turbines turn day and night.
a water wheel|a large wheel that turns in a stream|In the old days it drove the stones of a mill.
a mill|a house with a machine that grinds grain into flour|A water wheel or the wind drives it.
a flood|water that covers land which is usually dry|It comes after heavy rain or when snow melts fast.
a drought|a long time without rain|The fields turn brown and the rivers grow thin.
a wave|water that rises and falls as the wind pushes it|Big waves break on the beach.
the tide|the slow rise and fall of the sea|The moon pulls the water, so the tide comes twice a day.
the sea|a very large body of salt water|Ships cross it, and fish live in it.
rain|water that falls from clouds in small drops|It fills the rivers and waters the fields.
snow|frozen water that falls from clouds in soft flakes|It covers the fields in winter and melts in spring.
ice|water that is frozen hard|It floats on the lake in winter.
steam|water that has become a hot gas|It rises from a kettle when the water boils.
fog|a cloud that lies close to the ground|It makes it hard to see the road.
a cloud|a great many tiny drops of water in the air|When the drops grow heavy, they fall as rain.
a rainbow|a bow of seven colours that appears when the sun shines on rain|Red is on the outside and violet is on the inside.
a storm|weather with strong wind and heavy rain|It is best to stay inside until it has passed.
thunder|the loud sound that follows lightning|You hear it later because sound is slower than light.
lightning|a bright flash of electricity in the sky|It often strikes tall trees.
wind|air that moves from one place to another|It pushes sails and turns windmills.
electricity|a form of energy that flows through wires|It lights our lamps and drives our machines.
water|a clear liquid that all living things need|It can be ice, water or steam.
"""
COMPUTING = """
Penstock|a service that serves text from a language model over gRPC|It gives every call a deadline, streams the tokens, and tells clients when to try again.
gRPC|a way for one program to call a function in another program over a network|The messages are small and typed, and both sides can stream.
a server|a program that waits for requests and answers them|Many clients can use one server at the same time.
a client|a program that sends requests to a server|It waits for the answer, but never longer than its deadline.
a request|a message that asks a server to do something|The server sends back a response.
a response|the message that a server sends back|It carries the answer or says what went wrong.
streaming|sending an answer piece by piece while it is still being made|The reader sees the first words early and does not have to wait for the last one.
a deadline|the point in time after which an answer is no longer useful|When the deadline has passed, the server stops the work.
a timeout|the longest time that a program waits|After the timeout it gives up or tries again.
a retry|a second try after a call has failed|A good client waits a little longer before each retry.
backoff|waiting longer after every failed try|It gives a busy server time to recover.
back pressure|a way to tell a fast sender to slow down|A slow reader then does not drown in messages.
cancellation|telling a server that nobody needs the answer any more|The server can then stop and help somebody else.
a token|a small piece of text, such as a word or a part of a word|A language model reads tokens and writes tokens.
a tokenizer|the part that cuts text into tokens|It also puts tokens together again to make text.
a language model|a program that has learned to guess the next word|It writes text by guessing one token after another.
a prompt|the text that you give to a language model|The model reads the prompt and goes on from there.
a chat template|the form that turns a conversation into one text|It marks who said what.
temperature|a number that says how boldly a model picks its words|With a temperature of zero it always picks the most likely word.
a batch|a group of requests that a model works on together|A full batch makes good use of the machine.
continuous batching|letting new requests join a batch while others are still running|No request has to wait until the whole batch is done.
vLLM|an engine that runs language models fast|It works on many requests at once and keeps its memory in small blocks.
a cache|a place that keeps answers close at hand|The second time, the answer comes faster.
the KV cache|the memory in which a model keeps what it has read so far|It saves the model from reading the same text again.
a GPU|a chip that does very many sums at the same time|Large language models run on it.
a CPU|the chip that does the main work in a computer|It is good at doing one thing after another very fast.
a computer|a machine that follows instructions very fast|It can count, remember, draw and send messages.
a program|a list of instructions for a computer|People write it, and the computer follows it step by step.
a bug|a mistake in a program|A good test finds it early.
a test|a small program that checks another program|It tells you when something breaks.
a log|a list of things that a program has done|It helps people to find out what went wrong.
a metric|a number that tells how well a program is doing|People draw metrics as lines and watch them.
a queue|a line of requests that wait for their turn|The first one in is the first one out.
a load balancer|a program that shares work among many servers|No server then has too much to do.
a replica|one of several equal copies of a server|When one replica fails, another can take over.
a health check|a small question that asks whether a server is well|A server that is not well gets no new work.
a status code|a short word that says how a call ended|For example, OK means that all went well.
a channel|an open connection from a client to a server|Many calls can share one channel.
a protocol buffer|a small typed message that programs can send to each other|A short file says which fields it has.
a network|many computers that are joined so that they can talk|The largest network is the internet.
the internet|a network that joins computers all over the world|It carries letters, pictures and films.
an API|a set of calls that one program offers to others|It says what to send and what comes back.
Kubernetes|a system that runs programs on many machines|It starts them, watches them and starts them again when they fail.
Helm|a tool that installs programs on Kubernetes|A chart tells it what to install.
a container|a box that holds a program and all that it needs|It runs the same way on every machine.
admission control|deciding at the door which requests may come in|A server that is full says no early and says when to come back.
idempotency|the property that doing a thing twice is the same as doing it once|It makes a retry safe.
draining|finishing the open work before a server stops|New work goes to another server.
an embedding|a list of numbers that stands for the meaning of a text|Texts that mean the same have numbers that are close.
Python|a programming language that is easy to read|People use it for small tools and for large services.
AI|a name for programs that do things which seem to need thinking|A language model is one kind of AI.
machine learning|a way to make programs learn from examples|A model looks at many examples and finds what they share.
"""
WORLD = """
the sun|the star that gives the earth light and warmth|It rises in the east and sets in the west.
the moon|a ball of rock that travels around the earth|It shines because the sun lights it.
a star|a huge ball of hot gas that shines in the night|The stars look small because they are far away.
the earth|the planet on which we live|It travels around the sun once a year.
a tree|a tall plant with a trunk, branches and leaves|Birds build their nests in it.
a flower|the colourful part of a plant|Bees visit it to find nectar.
a seed|a small thing from which a plant grows|It needs water, warmth and earth.
bread|food that is baked from flour and water|It tastes best when it is still warm.
soup|a warm meal of water, vegetables and salt|You eat it with a spoon.
tea|a warm drink made from leaves and hot water|Some people like it with milk.
a bridge|a road that crosses a river or a valley|It must be strong enough to carry people and carts.
a house|a building in which people live|It has walls, a roof, doors and windows.
a book|many pages with words on them|It can tell a story or teach a lesson.
a boat|a small ship that floats on water|Oars, sails or engines move it.
a ship|a large boat that crosses the sea|A captain steers it from port to port.
a train|a row of wagons that runs on rails|It carries many people from town to town.
a bicycle|a vehicle with two wheels and two pedals|You have to keep moving to stay upright.
a mountain|land that rises high above the land around it|Its top is often covered with snow.
a forest|a large piece of land full of trees|Deer, foxes and owls live there.
a garden|a piece of land where people grow flowers and vegetables|It needs water, sun and care.
a friend|a person whom you like and trust|A good friend listens and helps.
music|sounds that are put together so that they please the ear|People sing it, play it and dance to it.
a story|a tale about somebody who wants something|It has a beginning, a middle and an end.
a haiku|a very short poem of three lines|The lines have five, seven and five syllables.
a poem|a short text in which the sound of the words matters|Often its lines rhyme.
a robot|a machine that can move and do work by itself|It follows the instructions of its program.
a school|a place where children learn|Teachers help them to read, write and count.
summer|the warmest season of the year|The days are long and the nights are short.
winter|the coldest season of the year|The days are short, and snow may fall.
autumn|the season in which the leaves fall|Farmers bring in the harvest.
time|what a clock measures|It always moves on and never turns back.
love|a strong and warm feeling for somebody|It makes people kind and brave.
happiness|the warm feeling that all is well|A friend, a song or a sunny day can bring it.
"""
WHY = """
Why is the sky blue?|The air scatters the blue part of the sunlight more than the other colours, so the sky looks blue.
Why does it rain?|It rains because the drops in a cloud grow heavy and fall.
Why is the sea salty?|Rivers carry a little salt to the sea, and the salt stays there when the water rises into the air.
Why is the grass green?|Grass is green because its leaves hold a green stuff that catches sunlight.
Why do leaves fall in autumn?|Trees drop their leaves to save water in winter.
Why do we sleep?|We sleep so that the body and the mind can rest.
Why do birds fly south?|Many birds fly south in autumn because it is warmer there and they find more food.
Why does ice float?|Ice floats because it is lighter than water.
Why is it cold in winter?|In winter the sun stands low and the days are short, so it is cold.
Why do we need water?|All living things need water to grow and to stay alive.
Why do stars shine?|Stars shine because they are very hot.
Why are deadlines useful?|A deadline is useful because no work is done for an answer that comes too late.
Why should a client wait before a retry?|A client should wait before a retry so that a busy server can recover.
Why is streaming useful?|Streaming is useful because the reader sees the first words early.
Why do dams have gates?|Dams have gates so that people can decide how much water flows.
Why is the moon bright?|The moon is bright because the sun shines on it.
Why do cats purr?|Cats purr when they feel safe and happy.
How does a turbine make electricity?|Water pushes the blades of the turbine, the turbine turns a generator, and the generator makes electricity.
How does streaming work?|The server sends each piece of the answer as soon as it is ready.
How does a language model work?|A language model reads the text so far and guesses the next token, again and again.
How does a dam work?|A dam holds back the river, and its gates let out as much water as people need.
How does a penstock work?|A penstock carries water down to the turbine, and its gate sets how much water flows.
How does gRPC work?|A client sends a small typed message over one connection, and the server sends one or many messages back.
How does Penstock work?|Penstock takes a request over gRPC, checks it, gives it to the engine, and streams the tokens back.
How do I make tea?|Boil water, pour it over the tea leaves, wait four minutes, and take out the leaves.
How do I boil an egg?|Put the egg into boiling water, wait seven minutes, and cool it under cold water.
How do I bake bread?|Mix flour, water, salt and yeast, let the dough rise, and bake it in a hot oven.
How do I make soup?|Cut vegetables, cook them in salted water until they are soft, and add some pepper.
How do I plant a tree?|Dig a hole, set the tree into it, fill the hole with earth, and water it well.
How do I learn to swim?|Start in shallow water with a good teacher, and practise a little every day.
How do I stay healthy?|Eat well, sleep enough, move every day, and spend time with friends.
How do I write a good test?|Give the program one clear task, and check that the answer is the one you expect.
How do boats float?|A boat floats because it pushes away as much water as it weighs.
How do plants grow?|Plants grow with the help of water, light and good earth.
How do fish breathe?|Fish breathe with gills, which take air out of the water.
What happens when a deadline passes?|When a deadline passes, the server stops the work and the client learns that it was too late.
What happens when a server is full?|A server that is full refuses new work and tells the client when to come back.
What is the meaning of life?|I am too small to know the meaning of life, but kindness is a good start.
"""
