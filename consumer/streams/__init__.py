"""What arrives: the kinds of stream, their columns, and the rules that make rows of records."""
