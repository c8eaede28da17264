"""One institution's side: its home directory, its records and the handler of every request."""
