"""Tests of scanner."""
