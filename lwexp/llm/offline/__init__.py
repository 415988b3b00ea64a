"""The offline stand-in: a seeded teacher and a heuristic judge behind a litellm custom provider."""
