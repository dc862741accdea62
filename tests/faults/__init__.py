"""Kills the processes of a real session and asks the API server's own log what really happened."""
