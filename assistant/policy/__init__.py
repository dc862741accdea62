"""What is allowed and what it means: pure functions over domain types, no input or output."""
