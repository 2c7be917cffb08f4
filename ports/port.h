/* The platform behind one header. `port_linux` is the real one; tests steer a simulated one
 * (ports/simulated.h). */
#ifndef SKERRY_PORTS_PORT_H
#define SKERRY_PORTS_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

struct port_disk {
  uint64_t free_bytes; /* for this process's user */
  uint64_t total_bytes;
  bool read_only; /* mounted so, or by the kernel after an error of the medium */
};

struct port_memory {
  uint64_t limit_bytes; /* the smallest of physical memory and every cgroup (v1 or v2) above this process */
  uint64_t physical_bytes; /* of the machine; 0: as much as the limit */
  uint64_t resident_bytes; /* of this process */
};

/* How close the kernel is to killing: of the control group, or the machine, that is fullest. */
struct port_pressure {
  uint64_t used_bytes;  /* without what the kernel can drop at once: clean pages of files */
  uint64_t limit_bytes; /* 0: not told */
  bool stalled;         /* tasks waited for memory for a notable part of the time since the last question */
};

/* All functions may be called from any thread; none blocks but `disk` for the time of one system call, and
 * `pressure` for as long as it is told. */
struct port {
  /* Microseconds since 1970, UTC, as the system says. May step in either direction. */
  int64_t (*wall_us)(struct port *port);
  /* Microseconds that only grow, time asleep included. The origin is arbitrary. */
  int64_t (*monotonic_us)(struct port *port);
  /* Whether the kernel says that the wall clock is synchronised (adjtimex without STA_UNSYNC). */
  bool (*clock_is_synchronised)(struct port *port);
  /* Space on the file system that holds `path`. UNAVAILABLE if the system does not say. */
  status (*disk)(struct port *port, const char *path, struct port_disk *ret);
  struct port_memory (*memory)(struct port *port);
  /* Waits for up to `wait_ms`, less if the kernel tells of a stall meanwhile (pressure stall information,
   * where it has it), then says how things are. For one thread. */
  struct port_pressure (*pressure)(struct port *port, int64_t wait_ms);
  /* The soft limit of file descriptors, raised to the hard one on first use. */
  uint64_t (*descriptors_max)(struct port *port);
  /* That this process may use: by its affinity, and by the quotas (cpu.max) of the control groups above it,
   * rounded up. At least 1. */
  unsigned (*cores)(struct port *port);
  uint32_t (*page_bytes)(struct port *port); /* 4, 16 or 64 KiB */
  /* Whether the kernel's random numbers are seeded; early in the boot of a box without a source of them they
   * are not, and whoever asks then waits. */
  bool (*entropy_is_ready)(struct port *port);
};

/* Waits for random numbers, asking every 100 ms; `waits` (may be NULL) is called once if it has to.
 * UNAVAILABLE after `most_ms`. */
STATUS_MUST_USE status port_entropy_await(struct port *port, int64_t most_ms, void (*waits)(void));

struct port *port_linux(void);

/* Called once at the start of the program: makes malloc give memory back (few arenas, fixed thresholds), so
 * that resident memory returns to where it was after a burst. */
void port_memory_configure(void);
/* Gives free heap memory back to the system now. */
void port_memory_trim(void);
/* Pages of the program and its libraries that nobody has written are given back: after the start those that
 * only the start needed, and whenever memory is tight. What is needed again comes from the system's cache of
 * files. A millisecond or two. Nothing with 32 bits. */
void port_memory_settle(void);
/* Called before the first thread: how large the stacks of all threads are, those that libraries start among
 * them, above a guard page each. What was never touched of one takes no memory. A build with a sanitizer
 * gives as much as its frames need. UNAVAILABLE: the system refuses. */
STATUS_MUST_USE status port_stack_configure(size_t bytes);
/* What is free in the heap, given back or not. Takes up to some milliseconds. */
uint64_t port_memory_free_bytes(void);

/* This process, as the system counts it; what it does not say is 0. Reads two directories of /proc, so its
 * time grows with the descriptors: some milliseconds with ten thousand. */
struct port_process {
  uint64_t cpu_us; /* of all threads, since the start */
  uint64_t resident_bytes_max;
  uint64_t page_faults;                         /* that needed the disk */
  uint64_t disk_read_bytes, disk_written_bytes; /* of the medium: what the system's cache had is not in it */
  uint64_t descriptors, threads;
};
void port_process_read(struct port_process *ret);

/* ---- The service manager: systemd's protocols, sd_notify(3) and sd_listen_fds(3) ---- */

/* Tells it about a change, e.g. "READY=1"; nothing without one (NOTIFY_SOCKET). */
void port_notify(const char *state);
/* That settings are read again, until the next READY=1. */
void port_notify_reloading(void);
/* How often it wants to hear WATCHDOG=1 at the least, in microseconds; 0: not at all. */
uint64_t port_watchdog_us(void);

enum { PORT_SOCKETS_MAX = 16 };
struct port_socket {
  int fd;        /* listening; non-blocking and close-on-exec now */
  char name[64]; /* FileDescriptorName= of the unit; "" */
};
/* Takes the listening sockets that it handed over, once: the environment is cleared. *ret_count 0: none.
 * FAILED_PRECONDITION: one that is no listening stream socket, or more than `PORT_SOCKETS_MAX`. */
STATUS_MUST_USE status port_sockets_take(struct port_socket ret[PORT_SOCKETS_MAX], unsigned *ret_count);

/* What the processor has of ciphers and checksums, for who looks at a machine: "AES CRC32"; static. One
 * thread. */
const char *port_processor_features(void);

#endif
