"""The steps of a rehearsal by name, for those who watch it without torch."""

STEPS = (
    "permit",
    "records and model",
    "keys",
    "training",
    "sum of updates",
    "tables",
    "sum of tables",
)
