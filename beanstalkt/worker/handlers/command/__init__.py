"""The handler that runs a command for each job."""
