"""What a run would need before it starts: memory, hours, readiness."""
