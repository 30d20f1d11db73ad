"""The handler that calls a Python function for each job."""
