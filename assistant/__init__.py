"""Pilothouse: an assistant for Kubernetes clusters that lives in the terminal."""

__version__ = "0.1.0"
