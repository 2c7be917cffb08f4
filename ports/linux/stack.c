#include <pthread.h>
#include <string.h>

#include "ports/port.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER
#endif

enum {
#ifdef HAS_SANITIZER
  FRAMES = 8, /* so many times as large */
#else
  FRAMES = 1,
#endif
};

/* A creator that gives attributes without a size, as gRPC does, gets the default too. */
status port_stack_configure(size_t bytes) {
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error == 0) {
    error = pthread_attr_setstacksize(&attributes, bytes * FRAMES);
    if (error == 0)
      error = pthread_attr_setguardsize(&attributes, 1); /* a page */
    if (error == 0)
      error = pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
  }
  return error == 0 ? status_ok()
                    : status_make(STATUS_UNAVAILABLE, "The stacks of threads cannot be set to %zu bytes: %s",
                                  bytes, strerror(error));
}
