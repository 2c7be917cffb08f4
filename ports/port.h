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
};

struct port_memory {
  uint64_t limit_bytes; /* the smallest of physical memory and every cgroup (v1 or v2) above this process */
  uint64_t resident_bytes; /* of this process */
};

/* All functions may be called from any thread; none blocks but `disk` for the time of one system call. */
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
  /* The soft limit of file descriptors, raised to the hard one on first use. */
  uint64_t (*descriptors_max)(struct port *port);
  unsigned (*cores)(struct port *port); /* that this process may use */
};

struct port *port_linux(void);

/* Called once at the start of the program: makes malloc give memory back (few arenas, fixed thresholds), so
 * that resident memory returns to where it was after a burst. */
void port_memory_configure(void);
/* Gives free heap memory back to the system now. */
void port_memory_trim(void);
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

/* Tells a service manager (systemd's NOTIFY_SOCKET) about a change, e.g. "READY=1"; nothing without one. */
void port_notify(const char *state);

#endif
