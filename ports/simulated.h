/* A platform that a test steers: nothing moves unless the test moves it. Any thread may call anything at any
 * time. */
#ifndef SKERRY_PORTS_SIMULATED_H
#define SKERRY_PORTS_SIMULATED_H

#include "ports/port.h"

struct port_simulated;

/* Wall clock 2026-01-01T00:00:00Z, synchronised; monotonic clock 1 s; 100 GB of disk, half of it free; 1 GiB
 * of memory, 16 MiB resident, no pressure; 1,024 descriptors, 2 cores, pages of 4 KiB, random numbers. NULL
 * if there is no memory. */
struct port_simulated *port_simulated_new(void);
void port_simulated_free(struct port_simulated *simulated); /* NULL is fine */

/* What the code under test gets. Lives as long as `simulated`. */
struct port *port_simulated_port(struct port_simulated *simulated);

/* Time passes, on both clocks; `us` >= 0. */
void port_simulated_advance(struct port_simulated *simulated, int64_t us);
/* The wall clock alone steps, forwards or backwards. */
void port_simulated_set_wall(struct port_simulated *simulated, int64_t wall_us);
void port_simulated_set_synchronised(struct port_simulated *simulated, bool synchronised);
/* The same for every path. */
void port_simulated_set_disk(struct port_simulated *simulated, struct port_disk disk);
/* Whether the system does not tell: `disk` is then UNAVAILABLE. */
void port_simulated_fail_disk(struct port_simulated *simulated, bool fails);
void port_simulated_set_memory(struct port_simulated *simulated, struct port_memory memory);
void port_simulated_set_descriptors(struct port_simulated *simulated, uint64_t max);
void port_simulated_set_cores(struct port_simulated *simulated, unsigned cores);
/* What the next questions are answered, after a millisecond at most. */
void port_simulated_set_pressure(struct port_simulated *simulated, struct port_pressure pressure);
void port_simulated_set_page(struct port_simulated *simulated, uint32_t bytes);
/* So many questions find the random numbers not ready. */
void port_simulated_lack_entropy(struct port_simulated *simulated, unsigned questions);

#endif
