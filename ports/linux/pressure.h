/* Pressure stall information: the kernel says on a descriptor when tasks waited for memory for longer than
 * told. https://docs.kernel.org/accounting/psi.html */
#ifndef SKERRY_PORTS_LINUX_PRESSURE_H
#define SKERRY_PORTS_LINUX_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

/* A trigger on `path`; -1 if the kernel has none there, or not for this user. */
int pressure_trigger_open(const char *path);
/* Waits up to `wait_ms`. True: it fired. *fd -1 only waits, and becomes -1 when the group has gone. */
bool pressure_trigger_wait(int *fd, int64_t wait_ms);
/* The total of the line `some` in microseconds; 0 if it is not told. For kernels that give no trigger. */
uint64_t pressure_total_us(const char *path);

#endif
