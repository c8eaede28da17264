"""The report's parts: each turns an opened run directory into words, tables and figures."""
