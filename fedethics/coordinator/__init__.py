"""The coordinator of a job: enrol sites, open sums, step the adapter, close with evidence."""
