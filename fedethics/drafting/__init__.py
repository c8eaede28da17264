"""A first charter, scenario and policy for a file of one's own, to be edited by people."""
