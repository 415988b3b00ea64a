"""A loopback server that behaves like real providers; the part of the model's name after "b-" selects the behaviour."""
