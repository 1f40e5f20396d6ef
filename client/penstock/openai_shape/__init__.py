"""OpenAI's shapes over Penstock's contract: one mapping, used by the clients and by the HTTP gateway."""
