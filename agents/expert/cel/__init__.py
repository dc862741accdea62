"""Device selectors: the part of CEL (Common Expression Language) that Kubernetes' DRA selectors are written in.

Our own, because of the libraries on PyPI none knows Kubernetes' quantities, versions and default maps, and the complete
one (the binding of the reference implementation) is 50 MB of wheels that some systems have none of.

The rule of this package: what is not understood is `NotEvaluatedError`, never a guessed true or false.
"""
