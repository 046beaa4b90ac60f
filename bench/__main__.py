"""Every benchmark, one after the other: `python -m bench`, or `python -m bench events --help`."""

import sys

from bench import events, report

_BENCHES = {"events": events.main, "report": report.main}


def main(arguments: list[str]) -> None:
    """Run the benchmark that is named with its arguments, or all with their defaults."""
    if arguments and arguments[0] in _BENCHES:
        _BENCHES[arguments[0]](arguments[1:])
        return
    if arguments:
        sys.exit(f"there is no benchmark {arguments[0]!r}; name one of {', '.join(_BENCHES)}")
    for bench in _BENCHES.values():
        bench([])


if __name__ == "__main__":
    main(sys.argv[1:])
