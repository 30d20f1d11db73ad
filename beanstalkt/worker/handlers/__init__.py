"""What does the work of a job: handlers, and the registry that finds them."""
