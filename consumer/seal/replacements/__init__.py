"""The replacement log: what replay, rewrite, erase and undo put in the place of the seals' objects."""
