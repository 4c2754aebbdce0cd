"""Denoisers, their schedules and samplers, and the generators in one step that are made of them."""
