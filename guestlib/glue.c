/* What newlib expects of an operating system. There are no files: output goes to guest_output,
 * input is at its end (a guest reads its console with console_on_input), all else does not exist.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/hypercall.h"
#include "guestlib/tsc.h"

/* newlib calls these by these names and declares only some of them. */
int isatty(int file);
int fstat(int file, struct stat *status);

_READ_WRITE_RETURN_TYPE write(int file, const void *bytes, size_t count) {
    if (file != STDOUT_FILENO && file != STDERR_FILENO) {
        errno = EBADF;
        return -1;
    }
    guest_output(bytes, count);
    return (_READ_WRITE_RETURN_TYPE)count;
}

_READ_WRITE_RETURN_TYPE read(int file, void *bytes, size_t count) {
    (void)file, (void)bytes, (void)count;
    return 0;
}

int close(int file) {
    (void)file;
    return 0;
}

off_t lseek(int file, off_t offset, int whence) {
    (void)file, (void)offset, (void)whence;
    errno = ESPIPE;
    return -1;
}

int fstat(int file, struct stat *status) {
    (void)file;
    *status = (struct stat){.st_mode = S_IFCHR};
    return 0;
}

int isatty(int file) {
    return file <= STDERR_FILENO;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    uint64_t ns = guest_wall_ns();
    time->tv_sec = (time_t)(ns / NS_PER_S);
    time->tv_usec = (suseconds_t)(ns % NS_PER_S / 1000);
    return 0;
}

void abort(void) {
    guest_panic("abort");
}

/* The end in order. The host takes the domain away; until then it must not run. */
void _exit(int status) {
    if (!guest_domain())
        guest_panic("exit %d", status);
    console_drain();
    control_exit(status);
    for (;;) {
        uint64_t bits, group;
        hc_wait(0, BH_DEADLINE_NEVER, &bits, &group);
    }
}
