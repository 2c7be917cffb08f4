# Each foreign library is found once, here, as an imported target `dep::NAME`, with its headers as SYSTEM ones. Programs
# of integrators include this file too, with the installed package; what only our own build needs is in
# SkerryBuildDependencies.cmake.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

option(SKERRY_STATIC "Link gRPC, abseil, RocksDB and protobuf-c into the program" OFF)

function(skerry_dependency name)
  cmake_parse_arguments(arg "" "HEADER" "LIBRARIES;INCLUDE_DIRS" ${ARGN})
  add_library(dep::${name} INTERFACE IMPORTED GLOBAL)
  foreach(library IN LISTS arg_LIBRARIES)
    string(MAKE_C_IDENTIFIER "SKERRY_LIB_${library}" variable)
    find_library(${variable} NAMES ${library} REQUIRED)
    target_link_libraries(dep::${name} INTERFACE "${${variable}}")
  endforeach()
  target_include_directories(dep::${name} SYSTEM INTERFACE ${arg_INCLUDE_DIRS})
  set_target_properties(dep::${name} PROPERTIES SKERRY_LIBRARIES "${arg_LIBRARIES}") # for skerry.pc
endfunction()

# The same with archives (libNAME.a) and, after them, the shared libraries that these need in turn (SHARED). Archives
# refer to each other in circles, so the linker goes through them until nothing is missing. LIBRARIES are the shared
# libraries that it stands for.
function(skerry_static_dependency name)
  cmake_parse_arguments(arg "" "" "ARCHIVES;SHARED;LIBRARIES" ${ARGN})
  set(files)
  list(TRANSFORM arg_ARCHIVES REPLACE "(.+)" "lib\\1.a")
  foreach(library IN LISTS arg_ARCHIVES arg_SHARED)
    string(MAKE_C_IDENTIFIER "SKERRY_LIB_${library}" variable)
    find_library(${variable} NAMES ${library} REQUIRED)
    list(APPEND files "${${variable}}")
  endforeach()
  list(JOIN files "," files)
  add_library(dep::${name} INTERFACE IMPORTED GLOBAL)
  target_link_libraries(dep::${name} INTERFACE "$<LINK_GROUP:RESCAN,${files}>")
  set_target_properties(dep::${name} PROPERTIES SKERRY_LIBRARIES "${arg_LIBRARIES}")
endfunction()

if(SKERRY_STATIC)
  pkg_check_modules(SKERRY_GRPC_PC REQUIRED QUIET grpc_unsecure)
  set(absl ${SKERRY_GRPC_PC_STATIC_LIBRARIES})
  list(FILTER absl INCLUDE REGEX "^absl_")
  list(REMOVE_DUPLICATES absl)
  skerry_static_dependency(grpc ARCHIVES grpc_unsecure gpr upb address_sorting ${absl} SHARED cares re2 z
    LIBRARIES grpc_unsecure gpr absl_synchronization)
  add_library(dep::abseil INTERFACE IMPORTED GLOBAL)
  target_link_libraries(dep::abseil INTERFACE dep::grpc) # its archives have all of abseil that there is in the program
  skerry_static_dependency(protobuf_c ARCHIVES protobuf-c LIBRARIES protobuf-c)
  skerry_static_dependency(rocksdb ARCHIVES rocksdb SHARED bz2 gflags lz4 snappy z zstd LIBRARIES rocksdb)
else()
  skerry_dependency(grpc LIBRARIES grpc_unsecure gpr)
  skerry_dependency(abseil LIBRARIES absl_synchronization)
  skerry_dependency(protobuf_c LIBRARIES protobuf-c)
  skerry_dependency(rocksdb LIBRARIES rocksdb)
endif()
skerry_dependency(nghttp2 LIBRARIES nghttp2)
skerry_dependency(microhttpd LIBRARIES microhttpd)
skerry_dependency(inih LIBRARIES inih)
skerry_dependency(jansson LIBRARIES jansson)
skerry_dependency(pcre2 LIBRARIES pcre2-8)
skerry_dependency(zlib LIBRARIES z)
skerry_dependency(crypt LIBRARIES crypt) # bcrypt; comes with the C library's headers

# BoringSSL is Debian's android package. Its libraries have the same names as OpenSSL's, so they are
# named by their full path, never by -lssl, and found at run time through an RPATH: a folder of the machine that
# runs the program, which a cross-build looks for in the sysroot.
set(SKERRY_BORINGSSL_DIR "/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/android")
find_library(SKERRY_BORINGSSL_CRYPTO NAMES crypto
  PATHS "${SKERRY_BORINGSSL_DIR}" NO_DEFAULT_PATH REQUIRED)
find_library(SKERRY_BORINGSSL_SSL NAMES ssl
  PATHS "${SKERRY_BORINGSSL_DIR}" NO_DEFAULT_PATH REQUIRED)
find_path(SKERRY_BORINGSSL_INCLUDE NAMES openssl/base.h PATHS /usr/include/android NO_DEFAULT_PATH REQUIRED)

add_library(dep::boringssl_crypto INTERFACE IMPORTED GLOBAL)
target_link_libraries(dep::boringssl_crypto INTERFACE "${SKERRY_BORINGSSL_CRYPTO}")
target_include_directories(dep::boringssl_crypto SYSTEM INTERFACE "${SKERRY_BORINGSSL_INCLUDE}")
target_link_options(dep::boringssl_crypto INTERFACE "-Wl,-rpath,${SKERRY_BORINGSSL_DIR}")

add_library(dep::boringssl_ssl INTERFACE IMPORTED GLOBAL)
target_link_libraries(dep::boringssl_ssl INTERFACE "${SKERRY_BORINGSSL_SSL}" dep::boringssl_crypto)
