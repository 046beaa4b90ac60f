"""Readers of disks: partition tables and file systems, pure Python, read-only, without mounting."""
