"""One file a subject: small pure functions from a view to drafts, each with the kinds it needs."""
