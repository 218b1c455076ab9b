/* Gives a pseudo terminal the modem lines that the kernel's ptys lack: preloaded, it answers the four modem ioctls of a
 * program and plays DTR and RTS through a virtual board's control socket.
 *
 *   ESPMINT_SHIM_CONTROL=board0.control LD_PRELOAD=modem_shim.so espmint board info --port /dev/pts/7
 *
 * ESPMINT_SHIM_LOG=FILE  appends each request and each line change, one a line
 * ESPMINT_SHIM_LACKS=tiocmget,tiocmset  answers these with ENOTTY, as a driver or shim does that does not know them
 *
 * The lines belong to the process: a program's first TIOCMGET finds both released. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef int (*ioctl_call)(int, unsigned long, ...);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int lines;
static int control = -1;

static void note(const char* text) {
  const char* path = getenv("ESPMINT_SHIM_LOG");
  if (!path) return;
  const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  dprintf(fd, "%s\n", text);
  close(fd);
}

static int reach_board(void) {
  const char* path = getenv("ESPMINT_SHIM_CONTROL");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return -1;
  strcpy(address.sun_path, path);
  control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (control >= 0 && connect(control, (struct sockaddr*)&address, sizeof address) == 0) return 0;
  if (control >= 0) close(control);
  control = -1;
  return -1;
}

/* One line of the control socket and its "ok". */
static int play(const char* name, int on) {
  char text[16], answer[256];
  size_t length = 0;
  snprintf(text, sizeof text, "%s %d", name, on);
  note(text);
  strcat(text, "\n");
  if (control < 0 && reach_board() != 0) return -1;
  if (send(control, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text)) goto lost;
  while (length < sizeof answer - 1) {
    const ssize_t count = read(control, answer + length, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) goto lost;
    if (answer[length++] == '\n') return strncmp(answer, "ok\n", length) == 0 ? 0 : -1;
  }
lost:
  close(control);
  control = -1;
  return -1;
}

static int change(int wanted) {
  const int before = lines;
  lines = wanted & (TIOCM_DTR | TIOCM_RTS);
  /* DTR first: from "in reset" to "boot pin held" the pin must be low before EN rises. */
  if (((before ^ lines) & TIOCM_DTR) && play("dtr", (lines & TIOCM_DTR) != 0) != 0) goto gone;
  if (((before ^ lines) & TIOCM_RTS) && play("rts", (lines & TIOCM_RTS) != 0) != 0) goto gone;
  return 0;
gone:
  errno = EIO;
  return -1;
}

static const char* modem_name(unsigned long request) {
  switch (request) {
    case TIOCMGET: return "tiocmget";
    case TIOCMSET: return "tiocmset";
    case TIOCMBIS: return "tiocmbis";
    case TIOCMBIC: return "tiocmbic";
    default: return NULL;
  }
}

int ioctl(int fd, unsigned long request, ...) {
  static ioctl_call real;
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "ioctl");

  const char* name = modem_name(request);
  if (!name || !getenv("ESPMINT_SHIM_CONTROL") || !isatty(fd)) return real(fd, request, argument);

  int result = 0;
  pthread_mutex_lock(&lock);
  note(name);
  const char* lacks = getenv("ESPMINT_SHIM_LACKS");
  if (lacks && strstr(lacks, name)) {
    errno = ENOTTY;
    result = -1;
  } else if (request == TIOCMGET) {
    *(int*)argument = lines | TIOCM_CTS | TIOCM_DSR | TIOCM_CAR;
  } else {
    const int bits = *(const int*)argument;
    result = change(request == TIOCMSET ? bits : request == TIOCMBIS ? lines | bits : lines & ~bits);
  }
  pthread_mutex_unlock(&lock);
  return result;
}
