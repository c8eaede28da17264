"""A released adapter in use: new records are scored as the sites' own held-out ones were.

Nothing here reads a label, spends a budget or sends anything.
"""
