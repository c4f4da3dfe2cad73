"""Raygate on Ray: actors, their lifetimes, and the clock."""
