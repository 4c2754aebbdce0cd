"""From a trained student to a file other programs run."""
