"""Deciding, recording, uploading and publishing a day."""
