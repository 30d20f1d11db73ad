"""What becomes of a job: pure functions of its outcome, its counters and the settings."""
