"""Checks of what records say, at the site and for the site: nothing of it leaves."""
