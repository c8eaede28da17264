"""Is this site ready for a run? Looked at before it, touching no budget."""
