"""Answers that are kept for calls that would give the same again, and calls that share one."""
