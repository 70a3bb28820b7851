"""What `make` says on a machine that lacks something."""

import subprocess

from support import REPOSITORY


def make(tmp_path, script):
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    command = ["make", "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_without_venv_the_debian_package_is_named(tmp_path):
    done = make(tmp_path, 'case "$2" in *venv*) exit 1;; esac')
    assert done.returncode != 0
    assert "sudo apt-get install python3-venv" in done.stdout
    assert not (tmp_path / "venv").exists()


def test_an_old_python_is_named(tmp_path):
    done = make(tmp_path, 'case "$1" in -V) echo Python 3.9.2;; *) exit 1;; esac')
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stdout
    assert "Python 3.9.2" in done.stdout
