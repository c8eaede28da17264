"""The same text about somebody else: listed words are swapped, and what the model says is compared.

Garg et al. 2019 (arXiv 1809.10610), counterfactual token fairness. The words are a charter's; what
is measured of the change is one small class each, found by name in `registry`. A swapped word does
not change what is correlated with it in life: a test of the model, not of the world.
"""

from fedethics.counterfactuals.change import Scored, WordChange
from fedethics.counterfactuals.registry import change_names, find_change
from fedethics.counterfactuals.swapping import Pair, WordFinder, WordSwap, clashes, pairs_of

__all__ = [
    "Pair",
    "Scored",
    "WordChange",
    "WordFinder",
    "WordSwap",
    "change_names",
    "clashes",
    "find_change",
    "pairs_of",
]
