"""`python -m groundlook` is the command line."""

from groundlook.service.cli import main

main()
