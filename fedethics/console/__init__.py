"""The console: one web page for each role; it only reads what homes and runs hold."""
