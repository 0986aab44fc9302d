"""Tests of one part, without any server."""
