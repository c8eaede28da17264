"""The only room of the library that touches Flower; what it replaces there is in `patches`."""
