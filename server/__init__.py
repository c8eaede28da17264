"""The Flower ServerApp of the coordinator."""
