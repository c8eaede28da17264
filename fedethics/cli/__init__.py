"""The `fedethics` command line."""
