"""Put the Flower app into the wheel, so that a coordinator installed from it needs no checkout.

Everything else of the build stands in pyproject.toml.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

APP = ("pyproject.toml", "LICENSE", "server/*.py", "clients/*.py")


class WithApp(build_py):
    """Builds the package, and beside its modules what a Flower bundle is made of."""

    def run(self) -> None:
        """Build, and copy the app to fedethics/app/; an editable install has the checkout."""
        super().run()
        if self.editable_mode:
            return
        for pattern in APP:
            found = sorted(Path().glob(pattern))
            if not found:
                raise FileNotFoundError(f"{pattern}: the wheel would lack the Flower app")
            for path in found:
                target = Path(self.build_lib) / "fedethics" / "app" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


setup(cmdclass={"build_py": WithApp})
