"""`penstock-key`: makes an API key, or hashes one. Keys are never arguments, which every user of a machine can see."""

import argparse
import sys

from penstock_service.api_keys import hash_of, new_key

_EPILOG = """\
The key is for its caller alone; its SHA-256 is for the service: in the identity file
(keys = ["<SHA-256>"]) or in PENSTOCK_API_KEYS (TENANT:<SHA-256>).
"""


def main() -> None:
    """Print a new key and its hash line, or with --hash the hash line of the key on stdin."""
    arguments = _parser().parse_args()
    key = sys.stdin.readline().strip() if arguments.hash else new_key()
    if not key:
        sys.stderr.write("penstock-key: there is no key on stdin\n")
        raise SystemExit(2)
    if not arguments.hash:
        sys.stdout.write(f"key     {key}\n")
    sys.stdout.write(f"sha256  {hash_of(key)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock-key",
        description="Make an API key of 256 random bits.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hash", action="store_true", help="hash the key on stdin instead of making one")
    return parser


if __name__ == "__main__":
    main()
