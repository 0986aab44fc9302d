"""`check`: what can be known before anything is consumed."""
