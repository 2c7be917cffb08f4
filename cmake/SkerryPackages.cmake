# Debian packages, made by scripts/deb: `skerry` (the program as a service) and `skerry-dev` (the library). Included when
# the prefix is /usr, as in the presets static, arm64-static and armhf-static, whose program the packages have.

install(FILES packaging/skerry.conf DESTINATION /etc/skerry COMPONENT skerry)
install(FILES packaging/skerry.service DESTINATION /lib/systemd/system COMPONENT skerry)
install(PROGRAMS packaging/first-start packaging/memory-max DESTINATION "${SKERRY_LIBEXECDIR}" COMPONENT skerry)
install(DIRECTORY DESTINATION /etc/skerry COMPONENT skerry)

set(docdir "${CMAKE_INSTALL_DATADIR}/doc")
install(FILES docs/accounts.md docs/alerts.yml docs/backups.md docs/http.md docs/indexes.md docs/install.md docs/mail.md docs/operating.md
  docs/queries.md docs/rules.md docs/security.md
  DESTINATION "${docdir}/skerry" COMPONENT skerry)
install(DIRECTORY docs/clients DESTINATION "${docdir}/skerry" COMPONENT skerry)
install(FILES docs/codegen.md docs/library.md docs/tutorial.md DESTINATION "${docdir}/skerry-dev" COMPONENT dev)
install(DIRECTORY examples/orders DESTINATION "${docdir}/skerry-dev/examples" COMPONENT dev)
foreach(package skerry skerry-dev)
  string(REGEX REPLACE "^skerry-" "" component "${package}")
  install(FILES packaging/copyright DESTINATION "${docdir}/${package}" COMPONENT ${component})
  install(FILES packaging/debian/${package}.lintian-overrides DESTINATION "${CMAKE_INSTALL_DATADIR}/lintian/overrides"
    RENAME ${package} COMPONENT ${component})
  # What is linked in, and the headers that are compiled in. The notices are the same on every architecture.
  foreach(linked libgrpc-dev libabsl-dev librocksdb-dev libprotobuf-c-dev uthash-dev)
    install(FILES "/usr/share/doc/${linked}/copyright" DESTINATION "${docdir}/${package}/third-party" RENAME ${linked}
      COMPONENT ${component})
  endforeach()
endforeach()

# Debian wants these compressed, always to the same bytes.
function(skerry_install_gzipped source name destination component)
  set(made "${PROJECT_BINARY_DIR}/packaging/${component}/${name}.gz")
  add_custom_command(OUTPUT "${made}"
    COMMAND sh -c "gzip -9nc '${source}' >'${made}'" DEPENDS "${source}" VERBATIM)
  file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/packaging/${component}")
  add_custom_target(skerry_gzip_${component}_${name} ALL DEPENDS "${made}")
  install(FILES "${made}" DESTINATION "${destination}" COMPONENT ${component})
endfunction()
skerry_install_gzipped("${PROJECT_SOURCE_DIR}/packaging/skerry.1" skerry.1 "${CMAKE_INSTALL_MANDIR}/man1" skerry)
skerry_install_gzipped("${PROJECT_SOURCE_DIR}/packaging/changelog" changelog.Debian "${docdir}/skerry" skerry)
skerry_install_gzipped("${PROJECT_SOURCE_DIR}/packaging/changelog" changelog.Debian "${docdir}/skerry-dev" dev)
skerry_install_gzipped("${PROJECT_SOURCE_DIR}/packaging/protoc-gen-skerry.1" protoc-gen-skerry.1 "${CMAKE_INSTALL_MANDIR}/man1" dev)

# Stripping programs is CPack's, that of archives is not.
install(CODE "if(CMAKE_INSTALL_DO_STRIP)
  execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug --enable-deterministic-archives
    \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libskerry.a\" COMMAND_ERROR_IS_FATAL ANY)
endif()" COMPONENT dev)

set(architecture_x86_64-linux-gnu amd64)
set(architecture_aarch64-linux-gnu arm64)
set(architecture_arm-linux-gnueabihf armhf)

set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL skerry dev)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CONTACT "Skerry <maintainers@skerry.invalid>")
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE "${architecture_${CMAKE_LIBRARY_ARCHITECTURE}}")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

# Libraries come from scripts/deb, which knows what the programs need: CPACK_DEBIAN_..._PACKAGE_DEPENDS.
set(CPACK_DEBIAN_SKERRY_PACKAGE_NAME skerry)
set(CPACK_DEBIAN_SKERRY_PACKAGE_SECTION net)
set(CPACK_DEBIAN_SKERRY_DESCRIPTION "mobile-app backend for small boxes
One program that serves the public Firestore API over gRPC and HTTP to the
Firebase and Google Cloud SDKs, with its data on this machine.")
set(CPACK_DEBIAN_SKERRY_PACKAGE_CONTROL_EXTRA
  "${PROJECT_SOURCE_DIR}/packaging/debian/postinst;${PROJECT_SOURCE_DIR}/packaging/debian/prerm;${PROJECT_SOURCE_DIR}/packaging/debian/postrm;${PROJECT_SOURCE_DIR}/packaging/debian/conffiles")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME skerry-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_DESCRIPTION "library for programs with Skerry inside
Headers, libskerry.a, the code generator protoc-gen-skerry, and CMake and
pkg-config files, for typed gRPC services beside Skerry's own.")
include(CPack)
