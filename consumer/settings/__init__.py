"""From a TOML file and the environment to a worker's settings, or to all mistakes in them."""
