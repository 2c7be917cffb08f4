/* Abseil, which gRPC core is built on. */
#ifndef SKERRY_RPC_ABSEIL_H
#define SKERRY_RPC_ABSEIL_H

#ifdef __cplusplus
extern "C" {
#endif

/* Debian's build of abseil has its assertions on, and with them its detection of deadlocks: each lock that
 * gRPC core takes is entered into a graph of all locks, itself behind a lock of the process. That is for
 * finding bugs of gRPC, and takes 3% of a server under load. For the whole process; any number of times. */
void rpc_abseil_configure(void);

#ifdef __cplusplus
}
#endif

#endif
