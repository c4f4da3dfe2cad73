"""Raygate's core in plain Python: no Ray, no HTTP serving, no clock, no environment, no globals."""
