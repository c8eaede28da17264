"""A site's records as the charter's schema says: read, checked, worded, grouped, split."""
