/*
 * What rankexec.py is for a rank without a terminal, without an interpreter's start. Optional: the agent
 * compiles it where there is a compiler. Packets are in gshell/mpi/MPI.md.
 *
 *     rankexec rank PROG ARG..     asks the agent for stdin, stdout and stderr, and becomes PROG
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 60, PACKET = 1 << 17, GIVEN = 3 };

static const char *const NUMBERS[] = {"PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", NULL};
static const char *const SIZES[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", NULL};
static const char BLANKS[] = " \t\n\r\v\f";

static char packet[PACKET + 1];
static size_t bytes;
static bool too_long;
static int given[GIVEN];

static const char *first_of(const char *const *names)
{
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value && *value)
            return value;
    }
    return "";
}

/* Words stand between NULs; none is after the last. */
static void put(const char *word)
{
    size_t length = strlen(word);
    if (length + 1 > PACKET - bytes) {
        too_long = true;
        return;
    }
    memcpy(packet + bytes, word, length + 1);
    bytes += length + 1;
}

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int sock;
    if (strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return -1;
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(sock, (struct sockaddr *)&address, sizeof address) == 0)
        return sock;
    close(sock);
    return -1;
}

/* The answer is then in `packet`, and three descriptors are in `given`. */
static bool ask(const char *path, const char *key, const char *number, const char *cwd, const char *name)
{
    union { char bytes[CMSG_SPACE(sizeof given)]; struct cmsghdr align; } control;
    struct iovec part = {.iov_base = packet, .iov_len = PACKET};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t got;
    int sock = dial(path);
    if (sock < 0)
        return false;
    bytes = 0;
    too_long = false;
    put("rank"), put(key), put(number), put(first_of(SIZES)), put(cwd), put(name);
    if (too_long || send(sock, packet, bytes - 1, MSG_NOSIGNAL) < 0) {
        close(sock);
        return false;
    }
    got = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
    close(sock);
    if (got <= 0)
        return false;
    bytes = (size_t)got;
    packet[bytes] = '\0';
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (!rights || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof given))
        return false;               /* a terminal: those who get one are not started by us */
    memcpy(given, CMSG_DATA(rights), sizeof given);
    return true;
}

static char *next_word(char **at)
{
    char *word = *at;
    if (!word)
        return NULL;
    *at = word + strlen(word) + 1;
    if (*at > packet + bytes)
        *at = NULL;
    return word;
}

/* Streams, directory, variables; what to execute, or NULL. */
static char *take(void)
{
    char *at = packet, *folder, *program, *variable;
    next_word(&at), next_word(&at);                     /* ok, pipes */
    folder = next_word(&at);
    program = next_word(&at);
    while ((variable = next_word(&at)) != NULL)
        if (strchr(variable, '='))
            putenv(variable);                           /* `packet` stays */
    if (folder && *folder && chdir(folder) != 0)
        errno = 0;                                      /* where the launcher has put us */
    for (int target = 0; target < GIVEN; target++)
        dup2(given[target], target);
    return program && *program ? program : NULL;
}

static int execute(char *file, char **argv)
{
    execv(file, argv);
    if (errno != ENOEXEC)
        return errno;
    int count = 0;
    while (argv[count])
        count++;
    char *words[count + 2];                             /* a script without "#!", which shells give to sh */
    words[0] = "/bin/sh";
    words[1] = file;
    memcpy(words + 2, argv + 1, (size_t)count * sizeof *words);
    execv("/bin/sh", words);
    return errno;
}

/* Execute it, as a shell would find it. */
static int become(char *name, char **argv)
{
    int reason = 0, error;
    if (strchr(name, '/')) {
        reason = execute(name, argv);
    } else {
        const char *path = getenv("PATH");
        char file[PATH_MAX];
        path = path ? path : "/bin:/usr/bin";
        for (;;) {
            int length = (int)strcspn(path, ":");
            int made = snprintf(file, sizeof file, "%.*s/%s", length ? length : 1, length ? path : ".", name);
            error = made < (int)sizeof file ? execute(file, argv) : ENAMETOOLONG;
            if (!reason || (reason == ENOENT && error != ENOENT))
                reason = error;
            if (!path[length])
                break;
            path += length + 1;
        }
    }
    bool missing = reason == ENOENT;
    const char *words = missing && !strchr(name, '/') ? "command not found" : strerror(reason);
    dprintf(2, "gshell: %s: %s\n", name, words);
    return missing ? 127 : 126;
}

int main(int argc, char **argv)
{
    static char cwd[PATH_MAX];
    char *program = NULL, *paths, *keys, *path, *key, *more_paths = NULL, *more_keys = NULL;
    const char *number = first_of(NUMBERS);
    if (argc < 3 || strcmp(argv[1], "rank") != 0) {
        dprintf(2, "usage: rankexec rank PROG ARG..\n");
        return 2;
    }
    argv += 2;
    paths = getenv("GSHELL_RANKS");
    keys = getenv("GSHELL_RANKS_KEY");
    if (*number && paths && keys) {
        if (!getcwd(cwd, sizeof cwd) || cwd[0] != '/')
            cwd[0] = '\0';                              /* it was removed */
        paths = strdup(paths);
        keys = strdup(keys);
        path = strtok_r(paths, BLANKS, &more_paths);
        key = strtok_r(keys, BLANKS, &more_keys);
        while (path && key) {
            if (ask(path, key, number, cwd, argv[0])) {
                program = take();
                break;
            }
            path = strtok_r(NULL, BLANKS, &more_paths);
            key = strtok_r(NULL, BLANKS, &more_keys);
        }
    }
    unsetenv("GSHELL_RANKS");
    unsetenv("GSHELL_RANKS_KEY");
    unsetenv("GSHELL_RANK_EXEC");
    return become(program ? program : argv[0], argv);
}
