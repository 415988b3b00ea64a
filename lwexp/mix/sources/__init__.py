"""The built-in sources: what runs of lwexp wrote (drafts, pairs), and files and hub sets of other tools."""
