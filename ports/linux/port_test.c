#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "ports/port.h"
#include "tests/support/unit.h"

static void clocks_go(void **state) {
  (void)state;
  struct port *port = port_linux();
  int64_t wall = port->wall_us(port);
  assert_true(llabs(wall / 1000000 - (int64_t)time(NULL)) <= 2);
  int64_t monotonic = port->monotonic_us(port);
  nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
  assert_true(port->monotonic_us(port) - monotonic >= 3000);
  (void)port->clock_is_synchronised(port); /* either is right here; it must answer */
}

static void the_process_is_told(void **state) {
  (void)state;
  struct port_process before, after;
  port_process_read(&before);
#ifdef TEST_UNDER_QEMU
  assert_true(before.threads >= 1); /* the emulator has one of its own */
#else
  assert_int_equal(before.threads, 1);
#endif
  assert_true(before.descriptors >= 3 && before.resident_bytes_max > 100 * 1024);
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  int64_t until = port_linux()->monotonic_us(port_linux()) + 20000;
  while (port_linux()->monotonic_us(port_linux()) < until)
    continue;
  port_process_read(&after);
  assert_int_equal(after.descriptors, before.descriptors + 2);
  assert_true(after.cpu_us > before.cpu_us);
  close(fds[0]);
  close(fds[1]);
}

/* In the directory of the build: /tmp may be memory. */
static void what_is_written_is_told(void **state) {
  (void)state;
  enum { BYTES = 1 << 20 };
  static char bytes[BYTES];
  struct port_process before, after;
  char path[] = "port-test-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  unlink(path);
  struct statfs system;
  assert_int_equal(fstatfs(fd, &system), 0);
  port_process_read(&before);
  assert_int_equal(write(fd, bytes, BYTES), BYTES);
  assert_int_equal(fsync(fd), 0);
  port_process_read(&after);
  if (system.f_type != TMPFS_MAGIC && system.f_type != OVERLAYFS_SUPER_MAGIC)
    assert_true(after.disk_written_bytes >= before.disk_written_bytes + BYTES);
  close(fd);
}

static void disk_is_told_or_unavailable(void **state) {
  (void)state;
  struct port *port = port_linux();
  struct port_disk disk = {0};
  assert_status_ok(port->disk(port, "/", &disk));
  assert_true(disk.total_bytes > 0);
  assert_true(disk.free_bytes <= disk.total_bytes);
  status s = port->disk(port, "/nowhere/at/all", &disk);
  assert_int_equal(s.code, STATUS_UNAVAILABLE);
  assert_non_null(strstr(s.message, "/nowhere/at/all: No such file"));
}

static void resources_are_plausible(void **state) {
  (void)state;
  struct port *port = port_linux();
  struct port_memory memory = port->memory(port);
  assert_true(memory.resident_bytes > 100 * 1024);
  assert_true(memory.limit_bytes > memory.resident_bytes);
  unsigned cores = port->cores(port);
  assert_true(cores >= 1 && cores <= (unsigned)sysconf(_SC_NPROCESSORS_CONF));
}

static void descriptors_are_raised_to_the_hard_limit(void **state) {
  (void)state;
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = 64;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  struct port *port = port_linux();
  assert_int_equal(port->descriptors_max(port), limit.rlim_max);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

static void assert_notified(const char *socket_path, const struct sockaddr_un *address, socklen_t length) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  assert_true(fd >= 0);
  assert_int_equal(bind(fd, (const struct sockaddr *)address, length), 0);
  setenv("NOTIFY_SOCKET", socket_path, 1);
  port_notify("READY=1\nSTATUS=serving");
  char text[64] = "";
  assert_int_equal(recv(fd, text, sizeof text - 1, 0), strlen("READY=1\nSTATUS=serving"));
  assert_string_equal(text, "READY=1\nSTATUS=serving");
  close(fd);
  port_notify("STOPPING=1"); /* nobody listens any more: nothing happens */
  unsetenv("NOTIFY_SOCKET");
}

static void service_manager_is_told(void **state) {
  (void)state;
  port_notify("READY=1"); /* no service manager */
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char folder[] = "/tmp/skerry-notify-XXXXXX";
  assert_non_null(mkdtemp(folder));
  snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
  assert_notified(address.sun_path, &address, sizeof address);
  unlink(address.sun_path);
  rmdir(folder);

  char name[64];
  int length = snprintf(name, sizeof name, "@skerry-notify-%d", (int)getpid());
  memset(address.sun_path, 0, sizeof address.sun_path);
  memcpy(address.sun_path + 1, name + 1, (size_t)length - 1);
  assert_notified(name, &address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length));

  char longer[300];
  memset(longer, 'x', sizeof longer);
  longer[0] = '/';
  longer[sizeof longer - 1] = '\0';
  const char *odd[] = {"", "/", "@", "relative", "vsock:2:1234", longer};
  for (size_t i = 0; i < UNIT_COUNT(odd); i++) {
    setenv("NOTIFY_SOCKET", odd[i], 1);
    port_notify("READY=1");
  }
  unsetenv("NOTIFY_SOCKET");
}

static void reloading_and_the_watchdog(void **state) {
  (void)state;
  char folder[] = "/tmp/skerry-notify-XXXXXX", text[128] = "", self[16];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  assert_non_null(mkdtemp(folder));
  snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
  setenv("NOTIFY_SOCKET", address.sun_path, 1);
  port_notify_reloading();
  unsetenv("NOTIFY_SOCKET");
  assert_true(recv(fd, text, sizeof text - 1, 0) > 0);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  long long told = 0;
  assert_int_equal(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%lld", &told), 1);
  assert_true(llabs((long long)now.tv_sec - told / 1000000) <= 60);
  close(fd);
  unlink(address.sun_path);
  rmdir(folder);

  assert_int_equal(port_watchdog_us(), 0);
  setenv("WATCHDOG_USEC", "30000000", 1);
  assert_int_equal(port_watchdog_us(), 30000000);
  snprintf(self, sizeof self, "%d", (int)getpid());
  setenv("WATCHDOG_PID", self, 1);
  assert_int_equal(port_watchdog_us(), 30000000);
  setenv("WATCHDOG_PID", "1", 1); /* meant for another process */
  assert_int_equal(port_watchdog_us(), 0);
  unsetenv("WATCHDOG_PID");
  setenv("WATCHDOG_USEC", "soon", 1);
  assert_int_equal(port_watchdog_us(), 0);
  unsetenv("WATCHDOG_USEC");
}

static void no_sockets_unless_meant(void **state) {
  (void)state;
  struct port_socket sockets[PORT_SOCKETS_MAX];
  unsigned count = 7;
  const char *odd[] = {"", "x", "-1", "0"};
  assert_status_ok(port_sockets_take(sockets, &count));
  assert_int_equal(count, 0);
  for (size_t i = 0; i < UNIT_COUNT(odd); i++) {
    setenv("LISTEN_FDS", odd[i], 1);
    setenv("LISTEN_PID", "1", 1);
    assert_status_ok(port_sockets_take(sockets, &count));
    assert_int_equal(count, 0);
    assert_null(getenv("LISTEN_FDS"));
  }
  char self[16];
  snprintf(self, sizeof self, "%d", (int)getpid());
  setenv("LISTEN_PID", self, 1);
  setenv("LISTEN_FDS", "17", 1);
  status s = port_sockets_take(sockets, &count);
  assert_int_equal(s.code, STATUS_FAILED_PRECONDITION);
  assert_int_equal(count, 0);
  assert_null(getenv("LISTEN_PID"));
}

static void code_that_is_given_back_still_runs(void **state) {
  (void)state;
  port_memory_settle();
  assert_true(port_linux()->wall_us(port_linux()) > 0);
}

/* What libraries do that ask for no size. */
static void *tell_stack(void *size) {
  pthread_attr_t attributes;
  size_t guard = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0 ||
      pthread_attr_getstacksize(&attributes, size) != 0 ||
      pthread_attr_getguardsize(&attributes, &guard) != 0 || guard == 0)
    *(size_t *)size = 0;
  pthread_attr_destroy(&attributes);
  return NULL;
}

static void threads_get_the_stack_that_is_set(void **state) {
  (void)state;
  enum { BYTES = 640 * 1024, SANITIZED = 8 };
  for (int with_attributes = 0; with_attributes < 2; with_attributes++) {
    status s = port_stack_configure(BYTES);
    assert_true(status_is_ok(&s));
    pthread_t thread;
    pthread_attr_t attributes;
    size_t size = 0;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_create(&thread, with_attributes ? &attributes : NULL, tell_stack, &size), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    assert_true(size >= BYTES - 64 * 1024 && size <= SANITIZED * BYTES + 64 * 1024);
  }
  status s = port_stack_configure(1);
  assert_int_equal(s.code, STATUS_UNAVAILABLE);
}

static void pressure_is_told(void **state) {
  (void)state;
  struct port *port = port_linux();
  struct port_pressure pressure = port->pressure(port, 1);
  assert_true(pressure.limit_bytes > 0 && pressure.used_bytes < pressure.limit_bytes);
  assert_true(pressure.limit_bytes <= port->memory(port).limit_bytes || pressure.limit_bytes >> 20 > 0);
  uint32_t page = port->page_bytes(port);
  assert_true(page >= 4096 && (page & (page - 1)) == 0);
  assert_true(port->entropy_is_ready(port));
}

enum { PIECES = 40000, PIECE_BYTES = 1000 };

/* A burst of small allocations, of which the last one at the top of the heap stays. */
static void *burst(void *kept) {
  static void *pieces[PIECES];
  for (int i = 0; i < PIECES; i++) {
    pieces[i] = malloc(PIECE_BYTES);
    if (pieces[i] == NULL)
      abort();
    memset(pieces[i], i, PIECE_BYTES);
  }
  for (int i = 0; i < PIECES - 1; i++)
    free(pieces[i]);
  *(void **)kept = pieces[PIECES - 1];
  return NULL;
}

static void memory_goes_back_after_a_burst(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(TEST_UNDER_QEMU)
  skip(); /* their allocators keep what is freed, and qemu's memory is not ours */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  skip();
#endif
#endif
  struct port *port = port_linux();
  port_memory_configure();
  for (int in_thread = 0; in_thread < 2; in_thread++) {
    uint64_t before = port->memory(port).resident_bytes;
    void *kept = NULL;
    if (in_thread == 0) {
      burst(&kept);
    } else {
      pthread_t thread;
      assert_int_equal(pthread_create(&thread, NULL, burst, &kept), 0);
      pthread_join(thread, NULL);
    }
    assert_true(port->memory(port).resident_bytes > before + 20 * 1024 * 1024);
    port_memory_trim();
    uint64_t after = port->memory(port).resident_bytes;
    free(kept);
    assert_true(after < before + 2 * 1024 * 1024);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clocks_go),
      cmocka_unit_test(the_process_is_told),
      cmocka_unit_test(what_is_written_is_told),
      cmocka_unit_test(disk_is_told_or_unavailable),
      cmocka_unit_test(resources_are_plausible),
      cmocka_unit_test(descriptors_are_raised_to_the_hard_limit),
      cmocka_unit_test(service_manager_is_told),
      cmocka_unit_test(reloading_and_the_watchdog),
      cmocka_unit_test(no_sockets_unless_meant),
      cmocka_unit_test(pressure_is_told),
      cmocka_unit_test(threads_get_the_stack_that_is_set),
      cmocka_unit_test(code_that_is_given_back_still_runs),
      cmocka_unit_test(memory_goes_back_after_a_burst),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
