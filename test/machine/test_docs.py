"""The documents agree with what they describe."""

import os
import subprocess
import sys


def test_abi_reference(ctx):
    """docs/abi.md's reference is what abi/ says."""
    subprocess.run([sys.executable, os.path.join(ctx.root, "test", "tools", "abi_reference.py"), "--check",
                    ctx.root], check=True)


def test_dsdt(ctx):
    """mgmt/vmm/dsdt.c is what a compiler makes of dsdt.asl."""
    subprocess.run([sys.executable, os.path.join(ctx.root, "test", "tools", "dsdt.py"), "--check", ctx.root],
                   check=True)
