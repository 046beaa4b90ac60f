"""Behaviour that every implementation of a contract must show."""
