"""The only room of the library that touches Flower, pinned to flwr 1.41."""
