"""Real worker processes against real servers: start them, feed them, treat them badly, and judge what they left."""
