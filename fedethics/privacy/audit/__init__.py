"""Empirical privacy audit: what an attack that was really made proves about an epsilon.

Every epsilon here is a lower bound with a confidence. One above the promise refutes the promise;
one below it proves nothing. No torch.
"""
