"""What was asked before, and how each model did: embedders, vector indexes, and their durable store."""
