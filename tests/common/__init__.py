"""Tests of libs.common."""
