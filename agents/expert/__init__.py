"""The built-in expert: analyzers over a view of the cluster, causes, typed remedies. No model, no network."""
