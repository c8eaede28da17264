"""A small charter's layout and population."""

import pytest

from fedethics.fairness import Layout, SensitiveFeature


@pytest.fixture(scope="session")
def layout() -> Layout:
    return Layout(
        features=(
            SensitiveFeature(name="sex", groups=("Female", "Male")),
            SensitiveFeature(name="age", groups=("young", "middle", "old")),
        ),
        histogram_by=("sex",),
    )
