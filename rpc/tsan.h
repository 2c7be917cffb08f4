/* The thread sanitizer does not see how gRPC core (not instrumented) hands a tag from one thread to another:
 * say RELEASE before a batch starts and ACQUIRE when its tag comes out of the queue. */
#ifndef SKERRY_RPC_TSAN_H
#define SKERRY_RPC_TSAN_H

#if defined(__SANITIZE_THREAD__)
#define RPC_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RPC_TSAN 1
#endif
#endif
#ifdef RPC_TSAN
#include <sanitizer/tsan_interface.h>
#define RPC_TSAN_RELEASE(tag) __tsan_release(tag)
#define RPC_TSAN_ACQUIRE(tag) __tsan_acquire(tag)
#else
#define RPC_TSAN_RELEASE(tag) ((void)(tag))
#define RPC_TSAN_ACQUIRE(tag) ((void)(tag))
#endif

#endif
