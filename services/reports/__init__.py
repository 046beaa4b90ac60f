"""Runs to runtime in windows."""
