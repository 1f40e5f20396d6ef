"""Ollama's dialect over the client's OpenAI-shaped facade: /api/chat and /api/embed."""
