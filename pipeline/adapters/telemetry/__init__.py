"""Logs and metrics: how the product speaks of itself, without a word on patients."""
