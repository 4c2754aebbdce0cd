"""Federated learning: algorithms as messages between a server and clients, independent of what carries them."""
