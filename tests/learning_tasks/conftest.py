"""The tiny model of the training tests."""

from tests.training.conftest import (  # noqa: F401  fixtures
    moved,
    noise,
    terms,
    texts,
    tiny_charter,
    tiny_folder,
)
