"""From a TOML file and the environment to the settings of one worker, or to every problem in them."""
