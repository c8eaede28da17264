"""The secure sums that a charter can open: each kind is one object in one folder, in a registry.

`registry.AGGREGATES` holds the objects, which every officer's command reads. What a site computes
is in the folder's `site` module, listed in `at_site`; what the coordinator commits is in its
`coordinator` module, listed in `at_coordinator`. A new kind is a folder and an entry in each.
"""
