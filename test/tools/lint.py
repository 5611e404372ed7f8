"""./dev fmt and ./dev lint: layout by .clang-format; then what cppcheck, clang-tidy and shellcheck
find. Exit status 0 when there is nothing to say."""

import concurrent.futures
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHELL = ("dev", "subprojects/fetch-sources", "subprojects/build-newlib", "test/tools/bare-root.sh")
# Left out: va_list findings, which clang-tidy 14 makes up of newlib's headers; widening of small products; copies
# without a NUL and arrays of pointers, which are meant.
TIDY_CHECKS = "-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters," \
    "-bugprone-reserved-identifier,-bugprone-implicit-widening-of-multiplication-result," \
    "-clang-analyzer-valist.Uninitialized,-bugprone-not-null-terminated-result," \
    "-bugprone-sizeof-expression," \
    "-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling"


def ours(*endings):
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-coz", "--exclude-standard"],
                            capture_output=True, check=True).stdout.decode()
    return [name for name in listed.split("\0")
            if name.endswith(endings) and os.path.isfile(os.path.join(ROOT, name))
            and not name.startswith("subprojects/")]


def run(what, command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace")
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'}  {what}", flush=True)
    if done.returncode:
        print(done.stdout)
    return done.returncode == 0


def tidy(build):
    """clang-tidy reads the compile commands of the clang build; gcc's flags would confuse it. It looks at
    what ships; tests run under the sanitizers instead."""
    if subprocess.run(["ninja", "-C", build, "--quiet"], stdout=subprocess.DEVNULL, check=False).returncode:
        print("FAIL  clang-tidy: the tree does not build with clang")
        return False
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as handle:
        commands = json.load(handle)
    files = sorted({os.path.relpath(os.path.join(entry["directory"], entry["file"]), ROOT)
                    for entry in commands if entry["file"].endswith(".c")} & set(ours(".c")))
    files = [file for file in files if not file.startswith("test/")]
    command = ["clang-tidy", "--quiet", "--warnings-as-errors=*", f"--checks={TIDY_CHECKS}", "-p", build]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return all(list(pool.map(lambda file: run(f"clang-tidy {file}", [*command, file]), files)))


def main():
    sources = ours(".c", ".h")
    if "--fmt" in sys.argv:
        return 0 if not sources or run("clang-format", ["clang-format", "-i", *sources]) else 1
    build = sys.argv[sys.argv.index("--build") + 1]
    good = True
    if sources:
        good &= run("clang-format", ["clang-format", "--dry-run", "--Werror", *sources])
        good &= run("cppcheck", ["cppcheck", "--quiet", "--error-exitcode=1", "--std=c11", "-I.", "-D__x86_64__",
                                 "-D_Noreturn=__attribute__((noreturn))",  # the one of the two that it knows
                                 "--enable=warning,performance,portability", "--inline-suppr",
                                 "--suppress=missingIncludeSystem",
                                 "--suppress=comparePointers",  # symbols of a linker script
                                 # references are C++; here it takes them for what guest_avail(&g)[i] is
                                 "--suppress=danglingTempReference", "--suppress=danglingTemporaryLifetime",
                                 # a structure's array that vsnprintf fills
                                 "--suppress=ctuuninitvar:mgmt/domain/domain.c",
                                 # what is returned is a structure of numbers
                                 "--suppress=returnDanglingLifetime:hv/core/hypercall.c",
                                 *(s for s in sources if s.endswith(".c"))])
        good &= tidy(build)
    for script in SHELL:
        if os.path.exists(os.path.join(ROOT, script)):
            good &= run(f"shellcheck {script}", ["shellcheck", script])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
