"""Joining and leaving a federation: keys, signed requests and invitations. No network, no torch."""
