"""Tests of one thing each, in memory."""
