"""Frozen sources of knowledge: understood once, then only asked."""
