"""Which items of laws and standards a release answers: yes, in part, no, and where."""
