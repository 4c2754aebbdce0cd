"""The papers' networks and generators, and reading a model from the outside."""
