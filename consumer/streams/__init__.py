"""What arrives: the kinds of stream, their columns, and the rules that turn records into rows."""
