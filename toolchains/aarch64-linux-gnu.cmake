# 64-bit ARM (Debian's arm64): Raspberry Pi 3 and later, most edge boxes. ARMv8.0; atomics of ARMv8.1 are used where the
# processor has them (-moutline-atomics, gcc's default).
set(SKERRY_ARCHITECTURE arm64)
set(SKERRY_TRIPLET aarch64-linux-gnu)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
include("${CMAKE_CURRENT_LIST_DIR}/debian.cmake")
