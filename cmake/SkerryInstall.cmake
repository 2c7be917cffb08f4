# What `cmake --install` puts where, in two components: `skerry` (the program) and `dev` (the library for programs of
# one's own: docs/library.md). Both become Debian packages (SkerryPackages.cmake).
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND CMAKE_LIBRARY_ARCHITECTURE)
  set(CMAKE_INSTALL_LIBDIR "lib/${CMAKE_LIBRARY_ARCHITECTURE}" CACHE PATH "Libraries, as Debian has them, in cross-builds too" FORCE)
endif()
include(GNUInstallDirs)
set(SKERRY_LIBEXECDIR "${CMAKE_INSTALL_LIBEXECDIR}/skerry")
set(SKERRY_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/skerry")
set(SKERRY_PROTODIR "${CMAKE_INSTALL_DATADIR}/skerry/proto")

install(TARGETS skerry RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT skerry)
install(TARGETS skerry-net RUNTIME DESTINATION "${SKERRY_LIBEXECDIR}" COMPONENT skerry)

# ---- libskerry.a: the objects of all our libraries that the server and the client consist of ----

# Adds `target` and what it links of ours to the global property SKERRY_ARCHIVE_TARGETS, and what it links of others'
# (dep::NAME) to SKERRY_ARCHIVE_DEPS.
function(skerry_archive_collect target)
  string(REGEX REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1" target "${target}")
  get_property(ours GLOBAL PROPERTY SKERRY_ARCHIVE_TARGETS)
  get_property(others GLOBAL PROPERTY SKERRY_ARCHIVE_DEPS)
  if(target MATCHES "^dep::" AND NOT target IN_LIST others)
    set_property(GLOBAL APPEND PROPERTY SKERRY_ARCHIVE_DEPS ${target})
  endif()
  if(NOT TARGET ${target} OR target IN_LIST ours)
    return()
  endif()
  get_target_property(type ${target} TYPE)
  if(NOT type STREQUAL "STATIC_LIBRARY")
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY SKERRY_ARCHIVE_TARGETS ${target})
  get_target_property(links ${target} LINK_LIBRARIES)
  foreach(link IN LISTS links)
    if(link)
      skerry_archive_collect("${link}")
    endif()
  endforeach()
endfunction()

set(protos proto_google_protobuf proto_google_api proto_google_rpc proto_google_type proto_firestore proto_skerry_admin)
foreach(target skerry_server skerry_rpc_client ${protos})
  skerry_archive_collect(${target})
endforeach()
get_property(archive_targets GLOBAL PROPERTY SKERRY_ARCHIVE_TARGETS)
get_property(archive_deps GLOBAL PROPERTY SKERRY_ARCHIVE_DEPS)
list(TRANSFORM archive_targets REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE archive_objects)
add_library(skerry_archive STATIC ${archive_objects})
set_target_properties(skerry_archive PROPERTIES OUTPUT_NAME skerry LINKER_LANGUAGE CXX)
install(TARGETS skerry_archive ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT dev)

# ---- Headers: the public ones, and those generated from proto/ ----

# PATH INSTALLED-AS, below include/.
set(public_headers
  base/arena.h skerry/base/arena.h
  base/log.h skerry/base/log.h
  base/memory_budget.h skerry/base/memory_budget.h
  base/status.h skerry/base/status.h
  base/str.h skerry/base/str.h
  rpc/call.h skerry/rpc/call.h
  rpc/client.h skerry/rpc/client.h
  rpc/message.h skerry/rpc/message.h
  rpc/method.h skerry/rpc/method.h
  rpc/rich_status.h skerry/rpc/rich_status.h
  rpc/typed.h skerry/rpc/typed.h
  server/embed/documents.h skerry/documents.h
  server/embed/server.h skerry/server.h
  storage/document/value.h skerry/storage/document/value.h)
set(generated_dirs)
foreach(target IN LISTS protos)
  list(APPEND generated_dirs "${PROJECT_BINARY_DIR}/proto/${target}.gen")
endforeach()
install(CODE "set(source \"${PROJECT_SOURCE_DIR}\")
set(headers \"${public_headers}\")
set(generated_dirs \"${generated_dirs}\")
set(include \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_INCLUDEDIR}\")
include(\"${PROJECT_SOURCE_DIR}/cmake/install_headers.cmake\")" COMPONENT dev)

# ---- The generator, its .proto files, and how to find it all ----

if(TARGET protoc-gen-skerry)
  install(TARGETS protoc-gen-skerry RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT dev)
endif()
foreach(directory google/api google/firestore google/rpc google/type skerry/admin)
  get_filename_component(parent "${directory}" DIRECTORY)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/proto/${directory}" DESTINATION "${SKERRY_PROTODIR}/${parent}" COMPONENT dev
    FILES_MATCHING PATTERN "*.proto")
endforeach()

# Each proto target as the package has it: name, opaque types, files.
set(SKERRY_PROTO_TARGETS "")
foreach(target IN LISTS protos)
  get_target_property(opaque ${target} SKERRY_PROTO_OPAQUE)
  string(APPEND SKERRY_PROTO_TARGETS "skerry_config_proto(${target} \"${opaque}\")\n")
endforeach()
set(SKERRY_CONFIG_DEPS ${archive_deps})
include(CMakePackageConfigHelpers)
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/skerry-config.cmake.in" "${PROJECT_BINARY_DIR}/skerry-config.cmake"
  INSTALL_DESTINATION "${SKERRY_CMAKEDIR}"
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_BINDIR SKERRY_PROTODIR)
# Before 1.0 a minor version may change the interface (docs/library.md).
write_basic_package_version_file("${PROJECT_BINARY_DIR}/skerry-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/skerry-config.cmake" "${PROJECT_BINARY_DIR}/skerry-config-version.cmake"
  cmake/SkerryDependencies.cmake cmake/SkerryProto.cmake DESTINATION "${SKERRY_CMAKEDIR}" COMPONENT dev)

# There is no shared libskerry, so everything that it needs is in Libs, not in Libs.private.
set(SKERRY_PC_LIBS "")
foreach(dep IN LISTS archive_deps)
  get_target_property(libraries ${dep} SKERRY_LIBRARIES)
  foreach(library IN LISTS libraries)
    if(library)
      string(APPEND SKERRY_PC_LIBS " -l${library}")
    endif()
  endforeach()
endforeach()
file(RELATIVE_PATH SKERRY_PC_PREFIX "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/skerry.pc.in" "${PROJECT_BINARY_DIR}/skerry.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/skerry.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT dev)

if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  include(SkerryPackages)
endif()
