"""The OpenAPI v3 documents of a Kubernetes 1.36 API server as package data, and the field table made from them."""
