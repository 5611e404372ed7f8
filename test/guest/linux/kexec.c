/* Loads a second kernel and starts it in place of the running one, without a reset of the machine:
 *
 *     kexec KERNEL INITRD COMMAND-LINE */
#include <err.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_file(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        err(1, "%s", path);
    return file;
}

int main(int argc, char **argv) {
    if (argc != 4)
        errx(2, "KERNEL INITRD COMMAND-LINE");
    if (syscall(SYS_kexec_file_load, open_file(argv[1]), open_file(argv[2]), strlen(argv[3]) + 1,
                argv[3], 0ul))
        err(1, "kexec_file_load");
    puts("kexec: loaded");
    fflush(stdout);
    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
    err(1, "reboot"); /* it does not come back */
}
