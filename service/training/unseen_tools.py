"""Tools that the model never sees in training, each with a question and the arguments that belong in the call."""

# name, description, question, arguments
UNSEEN: tuple[tuple[str, str, str, dict[str, str | int]], ...] = (
    ("play_music", "Play a song", "Play the song Yellow River.", {"song": "Yellow River"}),
    ("get_stock_price", "Get the price of a stock", "What is the stock price of ACME?", {"symbol": "ACME"}),
    (
        "book_table",
        "Book a table in a restaurant",
        "Book a table at Luigi for 4 people.",
        {"restaurant": "Luigi", "people": 4},
    ),
    ("get_population", "Get the population of a country", "How many people live in Peru?", {"country": "Peru"}),
    ("set_volume", "Set the volume", "Set the volume to 30.", {"volume": 30}),
    ("square_root", "The square root of a number", "What is the square root of 144?", {"number": 144}),
    ("find_restaurant", "Find a restaurant in a city", "Find a restaurant in Vienna.", {"city": "Vienna"}),
    ("create_user", "Create a user", "Create the user Tom.", {"name": "Tom"}),
    ("delete_file", "Delete a file", "Delete the file notes.txt.", {"path": "notes.txt"}),
    ("get_news", "Get the news about a topic", "What is the news about football?", {"topic": "football"}),
)
