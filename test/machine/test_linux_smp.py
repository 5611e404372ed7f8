"""Unmodified Linux with several vCPUs."""

import re
import time

import linux
from guests import command, guest, until, until_state
from harness import expect, limit, slow

VCPUS = 4
BAD = ("unchecked MSR", "Call Trace", "BUG:", "soft lockup", "stall", "clocksource: Marking",
       "not known; the guest gets #UD", "TSC synchronization", "APIC id mismatch", "not responding")


def ask(vm, command, pattern, timeout=60):
    vm.send(command)
    return vm.wait_for(pattern, timeout=timeout)


def check_quiet(vm):
    for bad in BAD:
        expect(bad not in vm.text, f"'{bad}' is not in what Linux says")


def interrupts(vm, name):
    """Counts of one line of /proc/interrupts, by processor."""
    found = ask(vm, f"grep {name}: /proc/interrupts", rf"^ *{name}:((?: +\d+){{{VCPUS}}})   ")
    return [int(number) for number in found.group(1).split()]


@slow
@limit(600)
def test_four_processors(ctx):
    with linux.boot(ctx, vcpus=VCPUS) as vm:
        linux.shell(vm, timeout=200)
        ask(vm, "nproc", r"^4\s*$")
        ask(vm, "grep -c 'cpu cores.*: 4' /proc/cpuinfo", r"^4\s*$")
        ask(vm, "cat /sys/devices/system/cpu/cpu3/topology/core_cpus_list", r"^3\s*$")
        ask(vm, "cat /sys/devices/system/cpu/cpu1/topology/package_cpus_list", r"^0-3\s*$")

        # Every processor works, is interrupted by its own timer, and calls the others.
        ticks, calls = interrupts(vm, "LOC"), interrupts(vm, "CAL")
        ask(vm, "for c in 0 1 2 3; do taskset $((1 << c)) sh -c 'i=0; while [ $i -lt 3000 ]; do "
                "i=$((i+1)); [ $((i % 100)) = 0 ] && /bin/true; done; echo done on $0' $c & done; wait; echo all''done",
            r"^alldone", timeout=200)
        for c in range(VCPUS):
            expect(f"done on {c}" in vm.text, f"the loop on processor {c} has ended")
        ask(vm, "for i in 1 2 3 4 5 6 7 8; do for c in 1 2 4 8; do taskset $c true; done; done; "
                "echo mo''ved", r"^moved")
        ticks_now, calls_now = interrupts(vm, "LOC"), interrupts(vm, "CAL")
        expect(all(now > then for now, then in zip(ticks_now, ticks)), f"{ticks_now}: ticks since {ticks}")
        expect(sum(calls_now) > sum(calls), f"{calls_now}: calls since {calls}")

        # Clocks agree between processors. No messages of the kernel's in between.
        ask(vm, "cat /sys/devices/system/clocksource/clocksource0/current_clocksource", r"^kvm-clock")
        vm.send("dmesg -n 1; for i in $(seq 25); do for c in 1 2 4 8; do taskset $c cat /proc/uptime; done; done; dmesg -n 7; echo ti''med")
        times = [float(t) for t in re.findall(r"^(\d+\.\d\d) \d+\.\d\d$", said_until(vm, r"^timed"), re.M)]
        expect(len(times) == 100 and times == sorted(times), "time goes forwards")

        # Processors go and come.
        for c in (3, 1):
            ask(vm, f"echo 0 >/sys/devices/system/cpu/cpu{c}/online; nproc", rf"^{VCPUS - 1}\s*$")
            ask(vm, f"echo 1 >/sys/devices/system/cpu/cpu{c}/online; nproc", rf"^{VCPUS}\s*$")
            ask(vm, f"taskset {1 << c} echo o''n {c}", rf"^on {c}")
        check_quiet(vm)
        vm.send("poweroff -f")
        vm.wait_for(r"guest linux ended: exit status 0", timeout=60)


def said_until(vm, pattern):
    begin = vm.cursor
    vm.wait_for(pattern, timeout=120)
    return vm.text[begin:vm.cursor].replace("\r", "")


@slow
@limit(600)
def test_pause_and_reboot(ctx):
    with linux.boot(ctx, vcpus=VCPUS) as vm:
        linux.shell(vm, timeout=200)
        ask(vm, "for c in 1 2 4 8; do taskset $c sh -c 'while :; do :; done' & done; echo bu''sy", r"^busy")
        vm.send_bytes(b"\x1d")
        vm.wait_for(r"^detached$", timeout=10)
        for _ in range(3):
            command(vm, "pause linux")
            ran = until_state(vm, "linux", "paused")["cpu_ms"]
            time.sleep(0.5)
            expect(guest(vm, "linux")["cpu_ms"] == ran, "no vCPU of a paused guest runs")
            command(vm, "resume linux")
            until(lambda: guest(vm, "linux")["cpu_ms"] > ran, "a resumed guest runs")
        vm.send("console linux")
        ask(vm, "killall sh; nproc", r"^4\s*$")
        check_quiet(vm)
        vm.send("reboot -f")
        vm.wait_for(r"guest linux ended: reboot", timeout=60)
        linux.shell(vm, timeout=200)
        ask(vm, "nproc", r"^4\s*$")
        vm.send("poweroff -f")
        vm.wait_for(r"guest linux ended: exit status 0", timeout=60)
