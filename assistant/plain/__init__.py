"""The linear face, for pipes, logs and screen readers: one line an event, no redraw."""
