#include "ports/simulated.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct port_simulated {
  struct port port;      /* first: a struct port * of ours is a struct port_simulated * */
  pthread_mutex_t mutex; /* guards all below */
  int64_t wall_us;
  int64_t monotonic_us;
  bool synchronised;
  bool disk_fails;
  struct port_disk disk;
  struct port_memory memory;
  uint64_t descriptors_max;
  unsigned cores;
  struct port_pressure pressure;
  uint32_t page_bytes;
  unsigned entropy_lacks; /* questions that it is still not there for */
};

/* Reads or writes one member under the mutex. */
#define LOCKED(simulated, statement)                                                                         \
  do {                                                                                                       \
    pthread_mutex_lock(&(simulated)->mutex);                                                                 \
    statement;                                                                                               \
    pthread_mutex_unlock(&(simulated)->mutex);                                                               \
  } while (0)

static struct port_simulated *simulated_of(struct port *port) {
  return (void *)port;
}

static int64_t simulated_wall_us(struct port *port) {
  int64_t now;
  LOCKED(simulated_of(port), now = simulated_of(port)->wall_us);
  return now;
}

static int64_t simulated_monotonic_us(struct port *port) {
  int64_t now;
  LOCKED(simulated_of(port), now = simulated_of(port)->monotonic_us);
  return now;
}

static bool simulated_clock_is_synchronised(struct port *port) {
  bool is;
  LOCKED(simulated_of(port), is = simulated_of(port)->synchronised);
  return is;
}

static status simulated_disk(struct port *port, const char *path, struct port_disk *ret) {
  bool fails;
  struct port_disk disk;
  LOCKED(simulated_of(port), fails = simulated_of(port)->disk_fails; disk = simulated_of(port)->disk);
  if (fails)
    return status_make(STATUS_UNAVAILABLE, "The system does not tell the space on the disk of %s.", path);
  *ret = disk;
  return status_ok();
}

static struct port_memory simulated_memory(struct port *port) {
  struct port_memory memory;
  LOCKED(simulated_of(port), memory = simulated_of(port)->memory);
  return memory;
}

static uint64_t simulated_descriptors_max(struct port *port) {
  uint64_t max;
  LOCKED(simulated_of(port), max = simulated_of(port)->descriptors_max);
  return max;
}

static unsigned simulated_cores(struct port *port) {
  unsigned cores;
  LOCKED(simulated_of(port), cores = simulated_of(port)->cores);
  return cores;
}

static struct port_pressure simulated_pressure(struct port *port, int64_t wait_ms) {
  struct port_pressure pressure;
  if (wait_ms > 0) /* a moment, so that who asks in a loop leaves the processor to others */
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  LOCKED(simulated_of(port), pressure = simulated_of(port)->pressure);
  return pressure;
}

static uint32_t simulated_page_bytes(struct port *port) {
  uint32_t bytes;
  LOCKED(simulated_of(port), bytes = simulated_of(port)->page_bytes);
  return bytes;
}

static bool simulated_entropy_is_ready(struct port *port) {
  struct port_simulated *simulated = simulated_of(port);
  bool ready;
  LOCKED(simulated, ready = simulated->entropy_lacks == 0; simulated->entropy_lacks -= !ready);
  return ready;
}

struct port_simulated *port_simulated_new(void) {
  struct port_simulated *simulated = malloc(sizeof *simulated);
  if (simulated == NULL)
    return NULL;
  *simulated = (struct port_simulated){
      .port = {.wall_us = simulated_wall_us,
               .monotonic_us = simulated_monotonic_us,
               .clock_is_synchronised = simulated_clock_is_synchronised,
               .disk = simulated_disk,
               .memory = simulated_memory,
               .descriptors_max = simulated_descriptors_max,
               .cores = simulated_cores,
               .pressure = simulated_pressure,
               .page_bytes = simulated_page_bytes,
               .entropy_is_ready = simulated_entropy_is_ready},
      .mutex = PTHREAD_MUTEX_INITIALIZER,
      .wall_us = INT64_C(1767225600) * 1000000,
      .monotonic_us = 1000000,
      .synchronised = true,
      .disk = {.free_bytes = UINT64_C(50000000000), .total_bytes = UINT64_C(100000000000)},
      .memory = {.limit_bytes = UINT64_C(1) << 30, .resident_bytes = UINT64_C(16) << 20},
      .descriptors_max = 1024,
      .cores = 2,
      .pressure = {.used_bytes = UINT64_C(100) << 20, .limit_bytes = UINT64_C(1) << 30},
      .page_bytes = 4096,
  };
  return simulated;
}

void port_simulated_free(struct port_simulated *simulated) {
  if (simulated == NULL)
    return;
  pthread_mutex_destroy(&simulated->mutex);
  free(simulated);
}

struct port *port_simulated_port(struct port_simulated *simulated) {
  return &simulated->port;
}

void port_simulated_advance(struct port_simulated *simulated, int64_t us) {
  assert(us >= 0);
  LOCKED(simulated, simulated->wall_us += us; simulated->monotonic_us += us);
}

void port_simulated_set_wall(struct port_simulated *simulated, int64_t wall_us) {
  LOCKED(simulated, simulated->wall_us = wall_us);
}

void port_simulated_set_synchronised(struct port_simulated *simulated, bool synchronised) {
  LOCKED(simulated, simulated->synchronised = synchronised);
}

void port_simulated_set_disk(struct port_simulated *simulated, struct port_disk disk) {
  LOCKED(simulated, simulated->disk = disk);
}

void port_simulated_fail_disk(struct port_simulated *simulated, bool fails) {
  LOCKED(simulated, simulated->disk_fails = fails);
}

void port_simulated_set_memory(struct port_simulated *simulated, struct port_memory memory) {
  LOCKED(simulated, simulated->memory = memory);
}

void port_simulated_set_descriptors(struct port_simulated *simulated, uint64_t max) {
  LOCKED(simulated, simulated->descriptors_max = max);
}

void port_simulated_set_cores(struct port_simulated *simulated, unsigned cores) {
  LOCKED(simulated, simulated->cores = cores);
}

void port_simulated_set_pressure(struct port_simulated *simulated, struct port_pressure pressure) {
  LOCKED(simulated, simulated->pressure = pressure);
}

void port_simulated_set_page(struct port_simulated *simulated, uint32_t bytes) {
  LOCKED(simulated, simulated->page_bytes = bytes);
}

void port_simulated_lack_entropy(struct port_simulated *simulated, unsigned questions) {
  LOCKED(simulated, simulated->entropy_lacks = questions);
}
