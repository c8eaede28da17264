"""The Flower ServerApp: a thin entry to the coordinator of the installed fedethics."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedethics.flower.grid import coordinate

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one job, or what is left of it."""
    coordinate(grid, context)
