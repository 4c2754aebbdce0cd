"""Model in, model out: smaller networks derived from given ones."""
