"""`penstock-serve` as it is, its signals and its exit status with it, but with its engine in a child process.

python -m tests.faults.serve_over_child [flags of penstock-serve]
"""

from functools import partial

from penstock_service import __main__ as program
from penstock_service.service import running_service
from tests.faults.child_engine import ChildEngines

if __name__ == "__main__":
    setattr(program, "running_service", partial(running_service, load=ChildEngines()))  # noqa: B010 - for mypy
    program.main()
