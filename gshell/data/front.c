/*
 * The front process of a session, compiled: the same as gshell/client/frontend.py, which lists the lines
 * that are spoken with the background process, but without an interpreter's start. Knows nothing of
 * gshell's options; whatever it cannot do is left to Python, by exec, before anything has happened.
 *
 *     front N PYTHON... VERB ARG...    N words start gshell's Python command line; the rest is the user's
 *     front                            prints which source it was compiled from
 *
 * Optional: gshell/client/stub.py compiles it where there is a compiler, data/launcher.sh looks for it.
 * That order of arguments, and the first word of the hand-over, are the 1 in the file's name `front-1`.
 *
 * Signals are blocked and read from a signalfd, so no code runs inside a handler, nothing is missed
 * between looking and waiting, and no system call is interrupted.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef GSHELL_FRONT_SOURCE
#define GSHELL_FRONT_SOURCE "by hand"
#endif

enum {
    LONGEST_LINE = 4096,            /* from the background process; resets take a few hundred bytes */
    LARGEST_HANDOVER = 4 << 20,     /* MAX_HANDOVER_BYTES of client/background.py */
    STOP_PATIENCE_MS = 1000,        /* for its word that it leaves our typing alone */
    LOOK_AGAIN_MS = 250,            /* in the background: nothing tells us of `fg` */
    SHOW_PATIENCE_MS = 100,         /* the terminal may be held by Ctrl-S */
    PACKED_BYTES = 6 * 4 + 32,      /* a termios as client/terminal.py packs it */
    RUNNING = INT_MIN               /* no exit status yet */
};

static const struct { int number; const char *name; } FORWARDED[] = {
    {SIGINT, "INT"},   {SIGTERM, "TERM"}, {SIGHUP, "HUP"},
    {SIGQUIT, "QUIT"}, {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"},
};
enum { FORWARDED_COUNT = sizeof FORWARDED / sizeof FORWARDED[0] };

static char **python;               /* the argv that does it all without us */
static sigset_t mask_at_start;
static int sock = -1;
static int status = RUNNING;
static char heard[LONGEST_LINE];    /* not yet a whole line */
static size_t heard_bytes;
static bool heard_any, said_any;    /* since the hand-over */
static bool away;                   /* in the background: look now and then whether we still are */
static bool stopped;                /* and so the terminal is not raw */
static bool stopping;               /* until it leaves our typing alone */

/* The terminal at stdin. */
static bool has_terminal, is_raw;
static struct termios saved;        /* what is_raw goes back to */
static char reset[LONGEST_LINE / 2];
static size_t reset_bytes;          /* what undoes the modes that output has set, if nobody else is left */

static void obey_lines(void);

/* Descriptors of ours are all close-on-exec; no signal disposition was changed. */
static void run_python(void)
{
    sigprocmask(SIG_SETMASK, &mask_at_start, NULL);
    execvp(python[0], python);
    int error = errno;
    dprintf(2, "gshell: cannot start %s: %s\n", python[0], strerror(error));
    _exit(error == ENOENT ? 127 : 126);         /* as a shell says it */
}

/* ------------------------------------------------------------------------------ finding and handing over */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

/* As config.background_socket() has it; false for what only Python can tell. */
static bool find_socket(char *path, size_t size)
{
    const char *relay = variable("GSHELL_RELAY"), *home = variable("GSHELL_HOME");
    const char *runtime = variable("XDG_RUNTIME_DIR");
    char name[NAME_MAX + 1] = "bg.sock", base[PATH_MAX] = "";
    int length;

    if (*relay) {
        char *end = name + strlen(strcpy(name, "bg-"));
        for (; *relay; relay++) {
            unsigned char c = (unsigned char)*relay;
            if (c > 127 || end + sizeof ".sock" >= name + sizeof name)
                return false;       /* Python knows which letters of all alphabets count as such */
            *end++ = isalnum(c) ? (char)c : '_';
        }
        strcpy(end, ".sock");
    }
    if (*home) {
        size_t bytes = strlen(home);
        if (*home != '/') {
            if (!getcwd(base, sizeof base - 1))
                return false;
            strcat(base, "/");
        }
        while (bytes && home[bytes - 1] == '/')
            bytes--;
        length = snprintf(path, size, "%s%.*s/run/%s", base, (int)bytes, home, name);
    } else if (*runtime == '/' && access(runtime, W_OK) == 0) {
        length = snprintf(path, size, "%s/gshell/%s", runtime, name);
    } else if (*variable("HOME")) {
        length = snprintf(path, size, "%s/.gshell/run/%s", variable("HOME"), name);
    } else {
        return false;
    }
    return length > 0 && (size_t)length < size;
}

/* To the background process, if one listens there that is ours: not another user's, after su. */
static bool dial(char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof peer;
    int folder = -1;
    bool connected;

    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return false;
    if (strlen(path) < sizeof address.sun_path) {
        strcpy(address.sun_path, path);
    } else {                        /* however long the path is: through its directory's descriptor */
        char *name = strrchr(path, '/');
        *name++ = '\0';
        folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0 || strlen(name) > sizeof address.sun_path - 32)
            return false;
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%.76s", folder, name);
    }
    connected = connect(sock, (struct sockaddr *)&address, sizeof address) == 0;
    if (folder >= 0)
        close(folder);
    return connected && getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.uid == geteuid();
}

static bool in_foreground(void)
{
    pid_t group = tcgetpgrp(0);
    return group < 0 || group == getpgrp();     /* no terminal, or not ours: nobody can tell */
}

/* One more word behind a NUL-separated list; false if it gets too long. */
static bool add_word(char *list, size_t *used, const char *word)
{
    size_t bytes = strlen(word) + 1;
    if (bytes > LARGEST_HANDOVER - *used)
        return false;
    memcpy(list + *used, word, bytes);
    *used += bytes;
    return true;
}

static bool add_number(char *list, size_t *used, const char *format, unsigned number)
{
    char text[16];
    snprintf(text, sizeof text, format, number);
    return add_word(list, used, text);
}

/* Of several settings of one variable the first counts, as for getenv. */
static bool set_before(char **entry, size_t name_bytes)
{
    for (char **earlier = environ; earlier < entry; earlier++)
        if (strncmp(*earlier, *entry, name_bytes) == 0)
            return true;
    return false;
}

/* What we are: words, directory, environment. The bytes of it, 0 if that can't be said. */
static size_t describe(char *list, int argc, char **argv)
{
    char folder[PATH_MAX];
    size_t used = 4;                /* for the length */
    mode_t mask = umask(0);
    umask(mask);
    away = !in_foreground();        /* asked once: what we say and what we watch for must agree */
    away = !in_foreground();        /* asked once: what we say and what we watch for must agree */
    if (!getcwd(folder, sizeof folder))
        strcpy(folder, "/");
    if (!add_word(list, &used, "1") || !add_word(list, &used, folder) ||
        !add_number(list, &used, "%o", mask) || !add_number(list, &used, "%u", (unsigned)getpid()) ||
        !add_number(list, &used, "%u", !away) || !add_number(list, &used, "%u", (unsigned)argc))
        return 0;
    for (int i = 0; i < argc; i++)
        if (!add_word(list, &used, argv[i]))
            return 0;
    for (char **entry = environ; *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals && !set_before(entry, (size_t)(equals - *entry) + 1) && !add_word(list, &used, *entry))
            return 0;
    }
    used--;                         /* the last word has nothing behind it */
    for (int i = 0; i < 4; i++)
        list[i] = (char)((used - 4) >> (24 - 8 * i));
    return used;
}

static bool hand_over(int argc, char **argv)
{
    static char list[4 + LARGEST_HANDOVER];     /* only the pages that are used exist */
    union { struct cmsghdr header; char space[CMSG_SPACE(3 * sizeof(int))]; } rights;
    const int descriptors[3] = {0, 1, 2};
    size_t size = describe(list, argc, argv), sent = 0;
    struct iovec all = {.iov_base = list, .iov_len = size};
    struct msghdr message = {.msg_iov = &all, .msg_iovlen = 1};

    memset(&rights, 0, sizeof rights);
    message.msg_control = rights.space;
    message.msg_controllen = sizeof rights.space;
    rights.header.cmsg_level = SOL_SOCKET;
    rights.header.cmsg_type = SCM_RIGHTS;
    rights.header.cmsg_len = CMSG_LEN(sizeof descriptors);
    memcpy(CMSG_DATA(&rights.header), descriptors, sizeof descriptors);
    while (sent < size) {           /* an environment may be larger than the socket's buffer */
        ssize_t count = sent ? send(sock, list + sent, size - sent, MSG_NOSIGNAL)
                             : sendmsg(sock, &message, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR)
            return false;
        sent += count > 0 ? (size_t)count : 0;
    }
    return size > 0;
}

/* A descriptor that reads the signals we forward; those ignored at the start (nohup) stay ignored. */
static int watch_signals(void)
{
    struct sigaction now;
    sigset_t watched;
    sigemptyset(&watched);
    for (int i = 0; i < FORWARDED_COUNT; i++)
        if (sigaction(FORWARDED[i].number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(&watched, FORWARDED[i].number);
    if (sigaction(SIGTSTP, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
        sigaddset(&watched, SIGTSTP);
    sigaddset(&watched, SIGWINCH);  /* whatever was set: the program's terminal follows ours */
    sigprocmask(SIG_BLOCK, &watched, NULL);
    return signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ------------------------------------------------------------------------------------- what we say */

static void say(const char *line)
{
    size_t left = strlen(line);
    said_any = true;
    while (left > 0) {
        ssize_t count = send(sock, line, left, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR)
            return;                 /* it died: recv will say so */
        line += count > 0 ? count : 0;
        left -= count > 0 ? (size_t)count : 0;
    }
}

static void say_size(char kind)
{
    char line[32];
    struct winsize size = {0, 0, 0, 0};
    for (int fd = 0; fd < 3; fd++)
        if (ioctl(fd, TIOCGWINSZ, &size) == 0)
            break;
    snprintf(line, sizeof line, "%c %d %d\n", kind, size.ws_row, size.ws_col);
    say(line);
}

/* ------------------------------------------------------------------------------------ the terminal */

/* packed() of client/terminal.py, as hexadecimal digits: either process may have to compare them. */
static char *add_modes(char *text, const struct termios *modes)
{
    const uint32_t numbers[6] = {modes->c_iflag, modes->c_oflag, modes->c_cflag, modes->c_lflag,
                                 cfgetispeed(modes), cfgetospeed(modes)};
    for (int i = 0; i < PACKED_BYTES; i++) {
        unsigned byte = i < 24 ? (numbers[i / 4] >> (8 * (i % 4))) & 255
                               : i - 24 < NCCS ? modes->c_cc[i - 24] : 0;
        text += sprintf(text, "%02x", byte);
    }
    return text;
}

/* raw_of() of client/terminal.py: all keys are bytes to send. */
static struct termios raw_of(struct termios modes)
{
    modes.c_iflag |= IGNPAR;
    modes.c_iflag &= ~(tcflag_t)(ISTRIP | INLCR | IGNCR | ICRNL | IXON | IXANY | IXOFF | BRKINT | PARMRK);
    modes.c_oflag &= ~(tcflag_t)OPOST;
    modes.c_lflag &= ~(tcflag_t)(ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHONL | IEXTEN);
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    return modes;
}

/* In the background be stopped until `fg`, as any process that would set the modes; false: no way. */
static bool wait_for_foreground(void)
{
    while (!in_foreground()) {
        if (tcdrain(0) == 0)        /* the kernel checks as for tcsetattr, and nothing is changed */
            return true;
        if (errno != EINTR)
            return false;           /* EIO: nobody is there who could continue us */
    }
    return true;
}

static void make_raw(void)
{
    char line[2 + 2 * (2 * PACKED_BYTES + 1) + 1] = "r ";
    struct termios modes;
    if (!is_raw && tcgetattr(0, &modes) == 0) {
        bool ours = wait_for_foreground();
        /* Anew: a shell may have changed the modes while we were stopped. */
        if (ours && tcgetattr(0, &modes) == 0) {
            struct termios wanted = raw_of(modes);
            is_raw = tcsetattr(0, TCSANOW, &wanted) == 0;
        }
        saved = modes;
        has_terminal = true;
    }
    if (has_terminal) {
        struct termios wanted = raw_of(saved);
        char *end = add_modes(line + 2, &wanted);
        *end++ = ' ';
        end = add_modes(end, &saved);
        strcpy(end, "\n");
    } else {
        strcpy(line, "r  \n");      /* `run -t </dev/null`: there is nothing to put in order later */
    }
    say(line);
    say_size('W');
}

/* Line by line and echoing again; not in the background: who is in front has set what it needs. */
static void restore(void)
{
    if (is_raw && in_foreground())
        tcsetattr(0, TCSANOW, &saved);
    is_raw = false;
}

static void make_cooked(void)
{
    if (in_foreground())
        restore();
}

/* ------------------------------------------------------------------------------ what we are told */

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* More of what the background process says; false if it is gone. */
static bool hear(void)
{
    ssize_t count;
    do
        count = recv(sock, heard + heard_bytes, sizeof heard - heard_bytes, 0);
    while (count < 0 && errno == EINTR);
    /* Reset: it went without having read all of the hand-over, so it has begun nothing. */
    if (count < 0 && errno == ECONNRESET && !heard_any && !said_any)
        run_python();
    if (count <= 0)
        return false;               /* also for a line that is longer than any of ours */
    heard_any = true;
    heard_bytes += (size_t)count;
    return true;
}

/* Stop as a program does for Ctrl-Z, but not before our typing is left alone. */
static void stop(void)
{
    const int64_t until = milliseconds() + STOP_PATIENCE_MS;
    struct sigaction usual, before;
    sigset_t mask, tstp;

    say("P\n");
    for (stopping = true; stopping && status == RUNNING;) {
        struct pollfd on = {.fd = sock, .events = POLLIN};
        int left = (int)(until - milliseconds());
        if (left <= 0 || (poll(&on, 1, left) > 0 && !hear()))
            break;
        obey_lines();               /* "p" ends stopping */
    }
    stopping = false;
    if (status != RUNNING)
        return;
    restore();
    memset(&usual, 0, sizeof usual);
    usual.sa_handler = SIG_DFL;
    sigaction(SIGTSTP, &usual, &before);
    sigemptyset(&tstp);
    sigaddset(&tstp, SIGTSTP);
    kill(0, SIGTSTP);               /* all of the pipeline, as the key would */
    sigprocmask(SIG_UNBLOCK, &tstp, &mask);     /* here we stand until SIGCONT */
    sigprocmask(SIG_SETMASK, &mask, NULL);
    sigaction(SIGTSTP, &before, NULL);
    away = stopped = !in_foreground();
    if (away)
        say("F 0\n");
    else
        say_size('C');
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void keep_reset(const char *hex)
{
    for (reset_bytes = 0; digit(hex[0]) >= 0 && digit(hex[1]) >= 0; hex += 2)
        reset[reset_bytes++] = (char)(digit(hex[0]) * 16 + digit(hex[1]));
}

static void obey(const char *line)
{
    switch (line[0]) {
    case 'X': status = atoi(line + 1); break;
    case 'R': make_raw(); break;
    case 'K': make_cooked(); break;
    case 'O': keep_reset(line[1] ? line + 2 : ""); break;
    case 'Z': if (!stopping) stop(); break;
    case 'p': stopping = false; break;
    }
}

static void obey_lines(void)
{
    char line[LONGEST_LINE], *end;
    while (status == RUNNING && (end = memchr(heard, '\n', heard_bytes)) != NULL) {
        size_t bytes = (size_t)(end - heard) + 1;
        *end = '\0';
        memcpy(line, heard, bytes);
        heard_bytes -= bytes;       /* out of the buffer first: who obeys may hear more */
        memmove(heard, heard + bytes, heard_bytes);
        obey(line);
    }
}

static void take_signals(int signals)
{
    struct signalfd_siginfo info;
    while (status == RUNNING && read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGWINCH)
            say_size('W');
        else if (info.ssi_signo == SIGTSTP)
            stop();
        for (int i = 0; i < FORWARDED_COUNT; i++) {
            if (info.ssi_signo == (uint32_t)FORWARDED[i].number) {
                char line[16];
                snprintf(line, sizeof line, "S %s\n", FORWARDED[i].name);
                say(line);
            }
        }
    }
}

/* Until it says that we are done, or says nothing any more. */
static void serve(int signals)
{
    while (status == RUNNING) {
        struct pollfd on[2] = {{.fd = sock, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (poll(on, 2, away ? LOOK_AGAIN_MS : -1) > 0) {
            if (on[0].revents) {
                if (!hear())
                    return;
                obey_lines();
            }
            if (on[1].revents)
                take_signals(signals);
        }
        if (away && status == RUNNING && in_foreground()) {
            away = false;
            if (stopped)
                say_size('C');      /* the terminal was restored when we stopped */
            else
                say("F 1\n");
            stopped = false;
        }
    }
}

static bool no_background(int argc, char **argv)
{
    const char *wanted = variable("GSHELL_BACKGROUND");
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--no-background") == 0)
            return true;
    return strcmp(wanted, "0") == 0 || strcmp(wanted, "no") == 0 || strcmp(wanted, "off") == 0;
}

static bool has_all_descriptors(void)
{
    return fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0;
}

int main(int argc, char **argv)
{
    static const char SOURCE[] = GSHELL_FRONT_SOURCE "\n";
    char path[PATH_MAX];
    int words = argc > 1 ? atoi(argv[1]) : 0, signals;

    if (words < 1 || words > argc - 2)
        return write(1, SOURCE, sizeof SOURCE - 1) < 0;
    python = argv + 2;
    argv += 2 + words;
    argc -= 2 + words;
    sigprocmask(SIG_BLOCK, NULL, &mask_at_start);
    if (no_background(argc, argv) || !has_all_descriptors() || !find_socket(path, sizeof path) || !dial(path))
        run_python();
    /* From here on: who presses Ctrl-C once the job is handed over means the job. */
    signals = watch_signals();
    if (signals < 0 || !hand_over(argc, argv))
        run_python();
    serve(signals);
    if (status == RUNNING && has_terminal && reset_bytes && in_foreground()) {
        struct pollfd screen = {.fd = 1, .events = POLLOUT};
        if (poll(&screen, 1, SHOW_PATIENCE_MS) > 0 && write(1, reset, reset_bytes) < 0)
            reset_bytes = 0;        /* hung up: nobody sees it */
    }
    restore();
    if (status == RUNNING) {
        dprintf(2, "gshell: the background process ended; the job goes on\n  try:  gshell jobs\n");
        return 255;
    }
    if (status == -1)
        run_python();               /* help and the like */
    return status & 255;
}
