"""The configuration of a runner: from its file, the environment and the flags to settings."""
