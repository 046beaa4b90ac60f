"""Tests of the demo and its local AWS."""
