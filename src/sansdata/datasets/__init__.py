"""Real sets, for evaluation, benchmarks and reproduction. Never imported below `evaluate`."""
