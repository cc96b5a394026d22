/* Makes every sync take 10 ms longer, as on a slow disk. For measurements only: LD_PRELOAD brings it into a program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static void wait_for_disk(void) {
  struct timespec delay = {0, 10 * 1000 * 1000};
  while (nanosleep(&delay, &delay) != 0) {
  }
}

int fsync(int fd) {
  wait_for_disk();
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
  wait_for_disk();
  return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
