"""Learning in the life of a request: what edges go by and report, and what its owner keeps and teaches."""
