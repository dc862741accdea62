"""Kubernetes: reading through the gate, and recorded clusters (support bundles) served as an API."""
