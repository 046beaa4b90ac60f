"""AWS to instance events."""
