"""One call through its attempts: limits, retries, hedging, and what a stream does when its connection breaks."""
