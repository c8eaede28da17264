"""After a release: the verdict of each window, its history, alarms. All of it offline; no torch."""
