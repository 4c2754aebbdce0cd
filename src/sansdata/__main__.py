"""Where the command and `python -m sansdata` begin. Importing the rest takes a moment, in which Ctrl-C is heard too."""


def run() -> None:
    """The command; see `cli.main.run` for its exit codes."""
    try:
        from .cli.main import run as command
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    command()


if __name__ == "__main__":
    run()
