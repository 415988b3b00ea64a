"""Shows the answers themselves: a few samples on the page, and a reader for all answers."""
