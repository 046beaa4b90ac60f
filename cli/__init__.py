"""The cloudigrade command."""
