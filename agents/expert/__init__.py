"""The built-in expert: analyzers over a view of the cluster, a graph of causes, typed remedies. No model, no network."""
