"""A whole federation on one machine: the real apps, an in-process grid, real data."""
