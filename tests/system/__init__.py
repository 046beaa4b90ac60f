"""Tests of the services together."""
