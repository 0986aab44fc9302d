"""`demo`: the main job in one process."""
