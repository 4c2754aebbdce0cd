"""How the student takes a step."""
