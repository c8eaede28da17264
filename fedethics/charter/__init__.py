"""What the federation agreed on: one document, its canonical bytes and its hash."""
