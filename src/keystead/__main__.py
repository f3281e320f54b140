"""``python -m keystead`` is the ``keystead`` command."""

from keystead.cli.main import main

main()
