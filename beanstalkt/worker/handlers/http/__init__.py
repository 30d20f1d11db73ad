"""The handler that makes an HTTP request for each job."""
