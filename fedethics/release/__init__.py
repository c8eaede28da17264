"""What leaves the federation, and whether it may: evidence, gate, manifest, model card, report."""
