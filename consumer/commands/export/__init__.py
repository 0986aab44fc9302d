"""`export`: days that somebody asks for, as files."""
