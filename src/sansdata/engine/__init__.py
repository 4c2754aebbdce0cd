"""Runs the moves of a method under a budget; can stop and continue anywhere."""
