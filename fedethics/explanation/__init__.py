"""Explanations of single predictions, at a site and for the site's own eyes."""
