/* The process that holds a pod's namespaces. It does nothing, and reaps what its pod leaves behind when the pod shares
 * its process namespace. Without a C library: the kernel's calls are made here, and the program is a few kilobytes. */

#if defined(__x86_64__)
enum { nr_rt_sigaction = 13, nr_pause = 34, nr_exit = 60, nr_write = 1 };
static long call(long nr, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
enum { nr_rt_sigaction = 134, nr_ppoll = 73, nr_exit = 93, nr_write = 64 };
static long call(long nr, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
#elif defined(__arm__)
enum { nr_rt_sigaction = 174, nr_pause = 29, nr_exit = 1, nr_write = 4 };
static long call(long nr, long a, long b, long c, long d) {
  register long r7 __asm__("r7") = nr;
  register long r0 __asm__("r0") = a;
  register long r1 __asm__("r1") = b;
  register long r2 __asm__("r2") = c;
  register long r3 __asm__("r3") = d;
  __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3) : "memory");
  return r0;
}
#endif

enum { sigint = 2, sigterm = 15, sigchld = 17 };

/* The kernel's form of sigaction; the handler never returns, so nothing has to restore the stack. */
struct action {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long long mask;
};

static void leave(int signal) {
  (void)signal;
  for (;;) call(nr_exit, 0, 0, 0, 0);
}

static void handle(long signal, void (*handler)(int), unsigned long flags) {
  struct action action = {.handler = handler, .flags = flags, .restorer = 0, .mask = 0};
#if defined(__x86_64__)
  action.flags |= 0x04000000; /* SA_RESTORER, which this kernel demands */
#endif
  call(nr_rt_sigaction, signal, (long)&action, 0, 8);
}

void _start(void) {
  handle(sigint, leave, 0);
  handle(sigterm, leave, 0);
  handle(sigchld, (void (*)(int))1, 2); /* SIG_IGN with SA_NOCLDWAIT: the kernel reaps */
  for (;;) {
#if defined(__aarch64__)
    call(nr_ppoll, 0, 0, 0, 0);
#else
    call(nr_pause, 0, 0, 0, 0);
#endif
  }
}
