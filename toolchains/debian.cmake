# What the toolchain files share: Debian's cross-compilers (crossbuild-essential-*), the sysroot of toolchains/sysroot,
# and qemu-user (toolchains/emulate) to run what was built. The file that includes this sets SKERRY_ARCHITECTURE
# (Debian's name), SKERRY_TRIPLET and CMAKE_SYSTEM_PROCESSOR.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSROOT "${CMAKE_CURRENT_LIST_DIR}/../build/sysroot-${SKERRY_ARCHITECTURE}")
cmake_path(NORMAL_PATH CMAKE_SYSROOT)
if(NOT EXISTS "${CMAKE_SYSROOT}/packages")
  message(FATAL_ERROR "There is no sysroot in ${CMAKE_SYSROOT}: `make ${SKERRY_ARCHITECTURE}` makes it first, "
    "or run toolchains/sysroot ${SKERRY_ARCHITECTURE}.")
endif()

set(CMAKE_C_COMPILER "${SKERRY_TRIPLET}-gcc")
set(CMAKE_CXX_COMPILER "${SKERRY_TRIPLET}-g++")
set(CMAKE_LIBRARY_ARCHITECTURE "${SKERRY_TRIPLET}")

# Programs (protoc, node) are this machine's; headers and libraries are the sysroot's only.
set(CMAKE_FIND_ROOT_PATH "${CMAKE_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR}
  "${CMAKE_SYSROOT}/usr/lib/${SKERRY_TRIPLET}/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig")

set(CMAKE_CROSSCOMPILING_EMULATOR "${CMAKE_CURRENT_LIST_DIR}/emulate")
