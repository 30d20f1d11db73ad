"""Processes on the event loop: started, fed, drained, stopped, and gone with their runner."""
