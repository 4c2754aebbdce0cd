"""Where inputs come from when there is no data."""
