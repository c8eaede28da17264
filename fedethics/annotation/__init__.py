"""Labels from people: out to annotators' tools, back in, and adjudicated at the site."""
