"""The entry point of `gateway` and of `python -m gateway`."""

from gateway.interrupts import exit_on_ctrl_c


def main() -> None:
    """Run the command line. See `gateway.cli.main` for the exit codes."""
    with exit_on_ctrl_c():
        from gateway.cli import main as run
    run()


if __name__ == "__main__":
    main()
