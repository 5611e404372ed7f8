#!/bin/sh
# bare-root.sh DIR [COMMAND...]: make a bare Debian 12 root in DIR (it must not exist), clone this
# repository into it, and run there what README promises: ./dev run and ./dev test. With COMMANDs,
# run those instead, each one argument. Needs root; uses this machine's own apt sources. About
# 4 GiB and half an hour, most of it packages and tests. DIR is removed at the end if all went well.
set -eu
[ $# -ge 1 ] || {
    echo "usage: bare-root.sh DIR [COMMAND...]" >&2
    exit 2
}
[ "$(id -u)" = 0 ] || {
    echo "bare-root.sh: chroot and mount need root" >&2
    exit 2
}
here=$(cd "$(dirname "$0")/../.." && pwd)
mkdir "$1"
dir=$(cd "$1" && pwd)
shift

sources=''
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ ! -s "$list" ] || sources="$sources $list"
done
# What a person who clones has: git, a shell, and apt that reaches its mirror.
# shellcheck disable=SC2086
mmdebstrap --variant=minbase --include=git,ca-certificates bookworm "$dir/root" $sources
cp /etc/resolv.conf /etc/hosts "$dir/root/etc/" 2>/dev/null || true
[ ! -d /etc/apt/apt.conf.d ] || cp -r /etc/apt/apt.conf.d "$dir/root/etc/apt/"
[ ! -d /etc/apt/auth.conf.d ] || cp -r /etc/apt/auth.conf.d "$dir/root/etc/apt/"

mounted=''
clean_up() {
    for point in $mounted; do
        umount -l "$point"
    done
}
trap clean_up EXIT
for point in proc dev sys; do
    mount --rbind "/$point" "$dir/root/$point"
    mount --make-rslave "$dir/root/$point"
    mounted="$dir/root/$point $mounted"
done

git clone -q --no-local "$here" "$dir/root/bulkhead"
inside() {
    echo "bare-root: $1" >&2
    chroot "$dir/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb \
        sh -c "cd /bulkhead || exit; $1"
}
if [ $# -gt 0 ]; then
    for command in "$@"; do
        inside "$command"
    done
else
    # The machine is switched off as soon as a page was served.
    # shellcheck disable=SC2016
    inside './dev run --headless --timeout 900 >run.log 2>&1 & run=$!
        until grep -q "answers" run.log; do
            kill -0 $run 2>/dev/null || { cat run.log; exit 1; }
            sleep 1
        done
        cat run.log
        kill $run; wait $run || true'
    inside './dev test'
fi
clean_up
trap - EXIT
rm -rf --one-file-system "$dir"
