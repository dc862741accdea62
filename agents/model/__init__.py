"""A language model as a mind."""
