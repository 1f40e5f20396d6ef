"""What each process of the engine runs first: `process_guard` has it take the place of the program."""

from penstock_service.engine.vllm.process_guard import end_with_service

end_with_service()
