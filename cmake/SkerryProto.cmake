# skerry_proto(TARGET ROOT dir [IMPORT dir ...] FILES a.proto ... [OPAQUE type ...] [DEPS target ...])
#
# Generates C from .proto files (paths relative to ROOT) and compiles it into the static library TARGET. Code
# that links TARGET includes "a.skerry.h" (services) and "a.pb-c.h" (messages).
#
#   IMPORT  further directories in which imports are looked for; ROOT, those of DEPS and protoc's own are known
#   OPAQUE  message types that stay bytes in C (docs/codegen.md); targets that depend on this one inherit them
#   DEPS    other skerry_proto targets, for what the files import
#
# The installed package has it too, and skerry_add_service over it (skerry-config.cmake.in), which sets
# SKERRY_PROTO_RUNTIME, the target that generated code links, and SKERRY_INCLUDE_PREFIX, where the runtime's headers are.
#
# Variables: SKERRY_PROTOC, SKERRY_PROTOC_GEN_C, and for cross-builds SKERRY_PROTOC_GEN_SKERRY: a
# protoc-gen-skerry that runs on the machine that builds.

find_program(SKERRY_PROTOC NAMES protoc REQUIRED DOC "The protobuf compiler")
find_program(SKERRY_PROTOC_GEN_C NAMES protoc-gen-c REQUIRED DOC "protobuf-c's plug-in for protoc")
find_path(SKERRY_PROTO_SYSTEM_DIR NAMES google/protobuf/compiler/plugin.proto REQUIRED
  DOC "Where protoc's own .proto files are")
if(NOT SKERRY_PROTO_RUNTIME)
  set(SKERRY_PROTO_RUNTIME skerry_base)
endif()
set(SKERRY_PROTOC_GEN_SKERRY "" CACHE FILEPATH "protoc-gen-skerry to run instead of the one that is built")

# The values of `property` of all targets in `targets`, and of the targets that those depend on.
function(skerry_proto_collect property targets ret)
  set(values)
  foreach(target IN LISTS targets)
    get_target_property(is_proto ${target} SKERRY_PROTO)
    if(NOT is_proto)
      message(FATAL_ERROR "skerry_proto: DEPS ${target} is not a skerry_proto target")
    endif()
    get_target_property(own ${target} ${property})
    list(APPEND values ${own})
  endforeach()
  list(REMOVE_DUPLICATES values)
  set(${ret} ${values} PARENT_SCOPE)
endfunction()

function(skerry_proto target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "ROOT" "IMPORT;FILES;OPAQUE;DEPS")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_ROOT OR NOT arg_FILES)
    message(FATAL_ERROR "skerry_proto(${target}): ROOT and FILES are needed; unknown: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  file(REAL_PATH "${arg_ROOT}" root)
  skerry_proto_collect(SKERRY_PROTO_FILES "${arg_DEPS}" imported_files)
  skerry_proto_collect(SKERRY_PROTO_DIRS "${arg_DEPS}" imported_dirs)
  skerry_proto_collect(SKERRY_PROTO_OPAQUE "${arg_DEPS}" inherited)

  set(out "${CMAKE_CURRENT_BINARY_DIR}/${target}.gen")
  set(sources)
  set(files)
  foreach(file IN LISTS arg_FILES)
    string(REGEX REPLACE "\\.proto$" "" base "${file}")
    list(APPEND files "${root}/${file}")
    foreach(ending pb-c.c pb-c.h skerry.c skerry.h)
      list(APPEND sources "${out}/${base}.${ending}")
    endforeach()
  endforeach()

  set(dirs "${root}" ${arg_IMPORT} ${imported_dirs} "${SKERRY_PROTO_SYSTEM_DIR}")
  list(REMOVE_DUPLICATES dirs)
  set(imports ${dirs})
  list(TRANSFORM imports PREPEND "-I")
  set(options ${arg_OPAQUE})
  list(TRANSFORM options PREPEND "--skerry_opt=opaque=")
  list(TRANSFORM inherited PREPEND "--skerry_opt=inherited_opaque=" OUTPUT_VARIABLE inherited_options)
  if(SKERRY_INCLUDE_PREFIX)
    list(APPEND options "--skerry_opt=include_prefix=${SKERRY_INCLUDE_PREFIX}")
  endif()

  set(plugin "${SKERRY_PROTOC_GEN_SKERRY}")
  set(plugin_dependency "${plugin}")
  if(NOT plugin)
    set(plugin "$<TARGET_FILE:protoc-gen-skerry>")
    set(plugin_dependency protoc-gen-skerry)
  endif()
  add_custom_command(OUTPUT ${sources}
    COMMAND ${CMAKE_COMMAND} -E make_directory "${out}"
    COMMAND "${SKERRY_PROTOC}" "--plugin=protoc-gen-skerry=${plugin}" "--skerry_out=${out}"
            "--skerry_opt=protoc_gen_c=${SKERRY_PROTOC_GEN_C}" ${options} ${inherited_options}
            ${imports} ${files}
    DEPENDS ${files} ${imported_files} "${plugin_dependency}"
    VERBATIM COMMENT "Generating C from the .proto files of ${target}")

  add_library(${target} STATIC ${sources})
  skerry_target_settings(${target})
  target_compile_options(${target} PRIVATE -w)
  target_include_directories(${target} SYSTEM PUBLIC "${out}")
  target_link_libraries(${target} PUBLIC ${arg_DEPS} ${SKERRY_PROTO_RUNTIME} dep::protobuf_c)
  list(APPEND files ${imported_files})
  list(APPEND arg_OPAQUE ${inherited})
  set_target_properties(${target} PROPERTIES
    SKERRY_PROTO TRUE SKERRY_PROTO_FILES "${files}" SKERRY_PROTO_DIRS "${dirs}"
    SKERRY_PROTO_OPAQUE "${arg_OPAQUE}")
endfunction()
