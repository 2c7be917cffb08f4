#include "rpc/abseil.h"

#include <absl/synchronization/mutex.h>

void rpc_abseil_configure(void) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}
