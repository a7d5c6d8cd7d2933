"""Make `.venv` ready from pyproject.toml and constraints.txt; do nothing when it already is.

Called by the Makefile before every target. A stamp inside `.venv` names what it was made from, so
the second call returns at once. The stamp is written last: an environment without one was
interrupted and is made anew. An environment with a stamp of other requirements is brought up to
date in place. Plain `venv` and `pip` do the work, with whatever pip settings the machine has.

The syntax is kept old on purpose: on a Python that is too old this file has to say so.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import time

MINIMUM = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = ("pyproject.toml", "constraints.txt")


class SetupError(Exception):
    """A set-up that failed, in words for the person who waits for it."""


def stamp_prefix(root):
    """Return the part of a stamp's name that no update in place can change: Python and folder.

    The scripts of an environment hold its absolute path, so a copied one has to be made anew.
    """
    folder = hashlib.sha256(root.encode()).hexdigest()[:8]
    return ".ready-{}-{}-".format(python_version(), folder)


def stamp_name(root):
    """Return the name of the stamp for this folder, these requirements and this Python."""
    digest = hashlib.sha256()
    for name in REQUIREMENTS:
        with open(os.path.join(root, name), "rb") as file:
            digest.update(file.read())
    return stamp_prefix(root) + digest.hexdigest()[:16]


def python_version():
    """Return the running Python as 3.11.7."""
    return ".".join(str(part) for part in sys.version_info[:3])


def is_ready(root):
    """Tell whether the stamp and the interpreter are both there."""
    venv = os.path.join(root, ".venv")
    return os.path.exists(os.path.join(venv, stamp_name(root))) and os.path.exists(
        os.path.join(venv, "bin", "python")
    )


def old_stamps(root, venv):
    """Return the stamps of an environment that can be updated in place."""
    if not os.path.exists(os.path.join(venv, "bin", "python")):
        return []
    prefix = stamp_prefix(root)
    return [os.path.join(venv, name) for name in os.listdir(venv) if name.startswith(prefix)]


def run(command, log_path, title):
    """Run a command into a log file and show its latest line now and then.

    Raises:
        SetupError: If the command fails; the message ends with the last lines of the log.
    """
    started = shown = time.monotonic()
    with open(log_path, "ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if time.monotonic() - shown > 10:
                    shown = time.monotonic()
                    print("  {:3.0f} s  {}".format(shown - started, last_lines(log_path, 1)))
                    sys.stdout.flush()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        raise SetupError(
            "{} failed:\n{}\nThe whole output is in {}; run the same command to retry.".format(
                title, last_lines(log_path, 20), log_path
            )
        )


def last_lines(path, count):
    """Return the last lines of a log that say something, each cut to the width of a screen."""
    with open(path, "rb") as file:
        lines = file.read().decode("utf-8", "replace").splitlines()
    telling = [line.strip()[:110] for line in lines if line.strip() and "is ignored" not in line]
    return "\n".join(telling[-count:])


def prepare(root, run=run):
    """Build or update the environment of a checkout; return whether anything was done.

    Raises:
        SetupError: If Python is too old or a step fails.
    """
    if sys.version_info[:2] < MINIMUM:
        raise SetupError(
            "Python {} or newer is needed and {} is {}: name another one, "
            "as in `make train PYTHON=python3.12`.".format(
                ".".join(str(part) for part in MINIMUM), sys.executable, python_version()
            )
        )
    if is_ready(root):
        return False
    venv = os.path.join(root, ".venv")
    # The lock lies beside .venv, which may be removed below; two makes at once take turns.
    with open(os.path.join(root, ".venv.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ready(root):
            return False
        build(root, venv, run)
    return True


def discard(root, venv):
    """Get a broken environment out of the way at once; deleting its 6 GB can take minutes."""
    if os.path.exists(venv):
        os.rename(venv, os.path.join(root, ".venv.old-{}".format(os.getpid())))
    old = [os.path.join(root, name) for name in os.listdir(root) if name.startswith(".venv.old-")]
    if old:
        subprocess.Popen(["rm", "-rf"] + old, start_new_session=True)


def build(root, venv, run):
    """Create or update `.venv` and stamp it."""
    stamps = old_stamps(root, venv)
    for stamp in stamps:
        os.remove(stamp)
    log_path = os.path.join(root, ".venv.log")
    open(log_path, "wb").close()
    if not stamps:
        discard(root, venv)
        run([sys.executable, "-m", "venv", venv], log_path, "python -m venv")
    # One call, so that pip reads each package once. Bytecode is left to the first import: most
    # of the 40,000 files are never imported.
    pip = [os.path.join(venv, "bin", "python"), "-m", "pip", "--disable-pip-version-check"]
    flags = ["--no-compile", "--progress-bar", "off", "-c", os.path.join(root, "constraints.txt")]
    run(pip + ["install"] + flags + ["-e", root + "[dev]"], log_path, "pip install")
    with open(os.path.join(venv, stamp_name(root)), "w"):
        pass


def main():
    """Prepare the environment of this checkout."""
    started = time.monotonic()
    if sys.version_info[:2] >= MINIMUM and not is_ready(ROOT):
        print("Setting up .venv: once, a few minutes, about 6 GB on disk. Log: .venv.log")
        sys.stdout.flush()
    try:
        if prepare(ROOT):
            print("Ready after {:.0f} s.".format(time.monotonic() - started))
    except SetupError as error:
        sys.exit("error: {}".format(error))
    except OSError as error:
        sys.exit("error: cannot write .venv: {}; free space and run it again.".format(error))
    except KeyboardInterrupt:
        sys.exit("Stopped. Run the same command again to start the set-up anew.")


if __name__ == "__main__":
    main()
