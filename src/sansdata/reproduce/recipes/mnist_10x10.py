"""MNIST shrunk to 10x10: a task on which networks and images are made in seconds, so that a recipe can have many."""

TASK = {"kind": "image", "shape": [1, 10, 10], "classes": 10, "mean": [0.1307], "std": [0.3081]}
