"""What a mind may call. Tools read and return evidence; the only way towards a change is to propose it."""
