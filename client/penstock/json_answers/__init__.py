"""Answers as JSON documents: found in the text, mended where that is wanted, and checked."""
