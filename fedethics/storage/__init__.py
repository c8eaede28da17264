"""Files that survive a power cut, locks, JSON lines and SQLite connections, each in one way.

Everything here raises what the system raises (OSError, sqlite3.Error); the caller's error says what
was and was not done.
"""
