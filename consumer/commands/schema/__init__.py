"""`schema`: the columns, and the statements that load them."""
