"""Published claims as data, and the runner that checks them on real data."""
