"""The Flower ClientApp of a site."""
