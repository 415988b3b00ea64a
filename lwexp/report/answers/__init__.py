"""The answers themselves: a few samples on the page, and the reader of all of them."""
