"""Numbered steps from an empty database to the schema; never changed once released."""
