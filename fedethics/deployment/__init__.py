"""Real processes: Flower's SuperLink and SuperNodes over TLS, started, watched and stopped."""
