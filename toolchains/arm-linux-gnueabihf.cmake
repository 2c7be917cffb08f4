# 32-bit ARM (Debian's armhf: ARMv7 with VFPv3-D16): older boxes. time_t and off_t have 32 bits in Debian 12's libraries.
set(SKERRY_ARCHITECTURE armhf)
set(SKERRY_TRIPLET arm-linux-gnueabihf)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
include("${CMAKE_CURRENT_LIST_DIR}/debian.cmake")
