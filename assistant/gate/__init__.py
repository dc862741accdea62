"""The one door to the cluster: a process that lets reads pass and holds every change until a person decides."""
