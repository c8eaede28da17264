"""Public benchmarks of what a language model says: items, scores, statistics and kept results.

Nothing here needs torch: a model is asked in `fedethics.training.likelihood`. The registry is in
`fedethics.benchmarks.registry`; each benchmark is one object in a file of its own.
"""
