"""The command line: `edgegap`, or `python -m edgegap_async`. It needs the extra `cli`.

Commands for operators share one structure. Each is a file with the name of the command:
its options, and a coroutine that is given a session and returns the exit code.

    program.py     all commands; `sections.py` and `one_line_errors.py` make their group
    common.py      the options that all have, as one value; `shared.py`, `wanted.py` and
                   `ages.py` those of some
    operate.py     runs a command: its session (`connect.py`), its messages (`verbose.py`,
                   `advice.py`), its signals and its exit code
    output.py      what a command writes: tables (`table.py`), JSON (`lines.py`), messages.
                   `clean_text.py` removes what would control the terminal

`live.py` is what `launch` and `load` show on a terminal while they run.

`load.py` runs a load test. Its options are read by `load_options.py`, `load_view.py` shows
its progress, `load_summary.py` says how it went, `load_files.py` reads and writes reports,
and `load_compare.py` compares two.

The commands for programs, `launch`, `reap`, `journal` and `simulate`, are older and have
options of their own.
"""
