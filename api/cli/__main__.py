"""``python -m api.cli``: the same as ``nightshift``, for supervisors that know only Python."""

from api.cli.main import main

if __name__ == "__main__":
    main()
