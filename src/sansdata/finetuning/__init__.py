"""A student that was distilled without data, taught further on few local cases: a new version with a parent."""
