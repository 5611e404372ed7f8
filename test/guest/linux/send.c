/* Sends a file over TCP in calls as large as they can be, which busybox's nc does not, then shows
 * what is answered. send FILE ADDRESS PORT connects; send FILE PORT waits for somebody who does. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int connected(const char *address, struct sockaddr_in *peer) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || inet_pton(AF_INET, address, &peer->sin_addr) != 1 ||
        connect(s, (struct sockaddr *)peer, sizeof(*peer)))
        return -1;
    return s;
}

static int accepted(const struct sockaddr_in *own) {
    int s = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
        bind(s, (const struct sockaddr *)own, sizeof(*own)) || listen(s, 1))
        return -1;
    puts("listens");
    fflush(stdout);
    return accept(s, NULL, NULL);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(argv[argc - 1]))};
    int file = open(argv[1], O_RDONLY);
    struct stat about;
    int s = argc > 3 ? connected(argv[2], &address) : accepted(&address);
    if (file < 0 || s < 0 || fstat(file, &about)) {
        perror("send");
        return 1;
    }
    for (off_t sent = 0; sent < about.st_size;) {
        if (sendfile(s, file, &sent, (size_t)(about.st_size - sent)) <= 0) {
            perror("send");
            return 1;
        }
    }
    shutdown(s, SHUT_WR);
    char answer[256];
    for (ssize_t bytes; (bytes = read(s, answer, sizeof(answer))) > 0;)
        if (write(STDOUT_FILENO, answer, (size_t)bytes) != bytes)
            return 1;
    return 0;
}
