"""Several front-end processes on one engine: the program that the user started supervises them."""
