"""Dynamic resource allocation as the scheduler sees it: devices in pools, requests of claims, and what is left."""
