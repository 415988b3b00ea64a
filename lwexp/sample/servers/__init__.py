"""Models behind a server: vLLM or SGLang, started by lwexp or by the user, and checked before the first answer."""
